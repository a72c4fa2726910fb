package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) auditExportCommand() *cobra.Command {
	var choice *logChoice
	var path string
	var asJSON *bool
	var witnessed bool
	cmd := command("export (TENANT | --platform) -o PATH", "Copy a log into one file, which bursar audit verify verifies",
		cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
			compress := strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz")
			switch {
			case path == "":
				return usage("give the file with -o, such as -o log.tar or -o log.tar.gz; - is standard output")
			case path == "-" && *asJSON:
				return usage("--json does not go with -o -, which is the log itself")
			case path != "-" && !compress && !strings.HasSuffix(path, ".tar") && regular(path):
				return usage("the name of the file must end in .tar or .tar.gz")
			}
			log, _, err := choice.open(args, 0)
			if err != nil {
				return err
			}
			x := &exporter{log: log, compress: compress, witnessed: witnessed, pause: time.Second}
			if p.color {
				x.progress = func(text string) { fmt.Fprintf(p.err, "\r\x1b[K%s", text) }
			}
			done, err := x.save(ctx, p.out, path)
			if x.progress != nil {
				x.progress("")
			}
			switch {
			case err != nil:
				return atLog(err)
			case path == "-":
				return nil
			case *asJSON:
				return p.printJSON(done)
			}
			return p.printExported(done)
		})
	cmd.Long = cmd.Short + `.

The file is a tar of the log's newest signed head, the keys, the events, and the Merkle tree over them. It proves itself
to whoever has the key of the log; nobody needs the server for that, or has to trust whoever made the copy. Events that
come while it is made are not in it.`
	choice, asJSON = p.chooseLog(cmd), jsonFlag(cmd)
	cmd.Flags().BoolVar(&witnessed, "witnessed", false,
		"export up to the newest head that a witness has signed, with its signatures")
	cmd.Flags().StringVarP(&path, "output", "o", "", "file to write, .tar or .tar.gz; - is a tar on standard output")
	return cmd
}

// exported is what an export holds.
type exported struct {
	Path       string   `json:"path"`
	Origin     string   `json:"origin"`
	First      int64    `json:"first"` // index of the first entry that the log still has
	Size       int64    `json:"size"`
	Root       string   `json:"root"`
	Keys       []string `json:"vkeys"`
	Checkpoint string   `json:"checkpoint"`
}

func (p *program) printExported(x *exported) error {
	keys := make([]string, len(x.Keys))
	for i, key := range x.Keys {
		keys[i] = harmless(key)
	}
	_, err := fmt.Fprintf(p.out, "exported %s of %s to %s\n\nThe log's key is\n\n  %s\n\nKeep it where nobody who can "+
		"write to the server or to the file can change it, and verify with it:\n\n  bursar audit verify %s --key %s\n",
		plural(x.Size-x.First, "event"), harmless(x.Origin), x.Path, strings.Join(keys, "\n  "),
		shellWord(x.Path), harmless(x.Keys[0]))
	return err
}

// plural is a number of things.
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// regular reports whether path is a file like others, or will be, and no device or pipe.
func regular(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular()
}

// exporter copies a log.
type exporter struct {
	log       *operator.Log
	compress  bool
	witnessed bool              // up to the newest head that a witness has signed
	pause     time.Duration     // before what was not answered is asked for again; longer each time
	progress  func(text string) // shows how far it is; may be nil
}

// save writes the export to a file, which is there whole or not at all; to out if the path is "-".
func (x *exporter) save(ctx context.Context, out io.Writer, path string) (*exported, error) {
	if path == "-" {
		return x.write(ctx, out)
	}
	if !regular(path) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		done, err := x.write(ctx, f)
		return done, errors.Join(err, f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	done, err := x.fill(ctx, f)
	if err = errors.Join(err, f.Close()); err == nil {
		done.Path, err = path, os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return done, nil
}

// fill writes the export to a file that is empty. It begins again when the log is pruned under its hands.
func (x *exporter) fill(ctx context.Context, f *os.File) (*exported, error) {
	for tries := 1; ; tries++ {
		done, err := x.write(ctx, f)
		if err == nil {
			return done, f.Sync()
		}
		if _, gone := pruned(err); !gone || tries == 3 {
			return nil, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		if err := f.Truncate(0); err != nil {
			return nil, err
		}
	}
}

// pruned returns where a log begins now, if that is why it answered with an error.
func pruned(err error) (first int64, ok bool) {
	p, ok := errors.AsType[*operator.Problem](err)
	if !ok || p.Code() != operator.CodeGone || p.First == 0 {
		return 0, false
	}
	return p.First, true
}

// write writes the export once.
func (x *exporter) write(ctx context.Context, to io.Writer) (*exported, error) {
	done, head, err := x.head(ctx)
	if err != nil {
		return nil, err
	}
	w := auditor.NewWriter(to, x.compress)
	for _, f := range head {
		if err := w.Add(f.Name, f.Data); err != nil {
			return nil, err
		}
	}
	if err := x.files(ctx, done.First, done.Size, w); err != nil {
		return nil, err
	}
	return done, w.Close()
}

// head fetches the files that come first, and finds out where the log begins. The keys are fetched after the
// checkpoint, so that they are all there that signed what it covers.
func (x *exporter) head(ctx context.Context) (*exported, []auditor.File, error) {
	newest := x.log.Checkpoint
	if x.witnessed {
		newest = x.log.Witnessed
	}
	signed, err := newest(ctx)
	if err != nil {
		return nil, nil, err
	}
	keys, err := x.log.Keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	vkeys, verifiers, err := publishedKeys(ctx, x.log)
	if err != nil {
		return nil, nil, err
	}
	head, _, err := auditor.OpenCheckpoint(signed, verifiers...)
	if err != nil {
		return nil, nil, fmt.Errorf("the server's checkpoint is not signed by a key that the server publishes: %w", err)
	}
	done := &exported{Origin: head.Origin, Size: head.Size, Root: head.Root.String(), Keys: vkeys,
		Checkpoint: string(signed)}
	if head.Size > 0 {
		_, err = x.log.Bundle(ctx, 0, int(min(head.Size, auditor.TileWidth)))
	}
	if first, gone := pruned(err); gone {
		done.First, err = first, nil
	}
	return done, []auditor.File{{Name: auditor.CheckpointFile, Data: signed}, {Name: auditor.KeysFile, Data: keys},
		{Name: auditor.VKeyFile, Data: []byte(strings.Join(vkeys, "\n") + "\n")}}, err
}

// publishedKeys fetches the keys that the server says are the log's.
func publishedKeys(ctx context.Context, log *operator.Log) (vkeys []string, verifiers []note.Verifier, err error) {
	if vkeys, err = log.VerifierKeys(ctx); err != nil {
		return nil, nil, err
	}
	for _, vkey := range vkeys {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, nil, fmt.Errorf("the server publishes a key that is none: %w", err)
		}
		verifiers = append(verifiers, v)
	}
	if len(vkeys) == 0 {
		return nil, nil, errors.New("the server publishes no key of the log")
	}
	return vkeys, verifiers, nil
}

// atOnce is how many files are fetched at a time.
const atOnce = 6

// fetched is the answer to one call.
type fetched struct {
	auditor.File
	err error
}

// files fetches the tiles and bundles, a few at a time, and writes them in their order.
func (x *exporter) files(ctx context.Context, first, size int64, w *auditor.Writer) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan chan fetched, atOnce-1)
	running.Go(func() {
		defer close(queue)
		for f := range auditor.Layout(first, size) {
			turn := make(chan fetched, 1)
			select {
			case queue <- turn:
			case <-ctx.Done():
				return
			}
			running.Go(func() { turn <- x.fetch(ctx, f) })
		}
	})
	for turn := range queue {
		f := <-turn
		if f.err != nil {
			return f.err
		}
		if err := w.Add(f.Name, f.Data); err != nil {
			return err
		}
		if x.progress != nil && f.Level == auditor.Entries {
			x.progress(fmt.Sprintf("%d of %d", f.Index*auditor.TileWidth+int64(f.Width), size))
		}
	}
	return ctx.Err()
}

// fetch fetches a file. A server that is away for a moment does not end a long export.
func (x *exporter) fetch(ctx context.Context, f auditor.File) fetched {
	for tries := 1; ; tries++ {
		var err error
		if f.Level == auditor.Entries {
			f.Data, err = x.log.Bundle(ctx, f.Index, f.Width)
		} else {
			f.Data, err = x.log.Tile(ctx, f.Level, f.Index, f.Width)
		}
		if err == nil || ctx.Err() != nil || tries == 5 || explain(&ran{err}).code != exitUnknown ||
			!wait(ctx, time.Duration(tries)*x.pause) {
			return fetched{f, err}
		}
	}
}

// wait reports whether d passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
