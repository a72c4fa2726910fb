package auditor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
)

// Options say what a log is held against.
type Options struct {
	// Keys are the log's public keys (vkeys of C2SP signed-note), taken from somewhere that the export's maker cannot
	// write to; one of them must have signed the checkpoint. Without any, the key in the export is used: then the report
	// says that the log agrees with itself, and no more.
	Keys []string
	// Issuer is whose log is expected, such as https://sts.example/t/acme. Empty: whoever the key is for.
	Issuer string
	// Old are signed checkpoints that were seen before. Only they, or witnesses, show that a log was shortened or
	// rewritten by somebody who has its keys.
	Old [][]byte
	// Witnesses are vkeys of witnesses (C2SP tlog-cosignature); at least Quorum of them must have signed the checkpoint,
	// or all of them if it is 0.
	Witnesses []string
	Quorum    int
	// Tokens are compact JWTs that the log must have on record as issued.
	Tokens []string
}

// OptionsError is the error of options that mean nothing, or contradict each other.
type OptionsError struct{ Err error }

func (e *OptionsError) Error() string { return e.Err.Error() }
func (e *OptionsError) Unwrap() error { return e.Err }

// verifier is one verification.
type verifier struct {
	Options
	report    *Report
	keys      []note.Verifier
	witnesses []note.Verifier
	tokens    *tokens

	origin string // of the log, in the first epoch
	events map[string]eventKey
	old    []oldHead
	// compared is how many of them could be held against the log.
	compared int

	trees    *trees
	order    *order
	aligner  aligner
	suspects []suspect
	holes    []hole
	next     int64            // index of the entry that comes next; -1 before the first bundle
	unread   int64            // entries in bundles that cannot be read
	pruned   int64            // entries before this one were dropped, as an event of the log says
	newest   int64            // iat of the newest event by a key that has not been revoked
	revoked  map[string]int64 // by kid: the event that tells of the key's end
	warned   map[string]bool
	broken   bool // the export ends before it should
	hopeless bool // the reading ended because too much was wrong
}

// suspect is an entry that is not what it should be. What was done to it shows only when the tree is known.
type suspect struct {
	index   int64
	code    Code
	kind    Kind
	message string
	edited  bool // it may have been right before somebody changed it
	misfit  bool // its signature does not fit it
}

// hole is a range of the tree that lacks entries.
type hole struct{ from, to, missing int64 }

// empty reports whether the export holds nothing of the range.
func (h hole) empty() bool { return h.missing == h.to-h.from+1 }

// Verify verifies an export. It reads it once, and keeps a hundredth of it in memory. What is wrong with the log is in
// the report; the error is an *OptionsError, or about reading (see also ErrOrder).
func Verify(ctx context.Context, from *Reader, o Options) (*Report, error) {
	v := &verifier{Options: o, report: &Report{Findings: []Finding{}, NotChecked: []string{}}, next: -1,
		warned: map[string]bool{}, revoked: map[string]int64{}}
	if err := v.prepare(); err != nil {
		return nil, fmt.Errorf("verify: %w", &OptionsError{err})
	}
	first, err := v.readHead(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if v.trees != nil {
		if err := v.readEntries(ctx, from, first); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		v.conclude()
	}
	for _, name := range from.Strays {
		v.report.warn(ExtraBytes, Malformed, -1, "the file %q in the directory is no part of the export", name)
	}
	whole := v.trees != nil && v.trees.signed(v.trees.entries)
	v.report.conclude(whole && len(o.Keys) > 0, v.compared > 0 || len(v.witnesses) > 0)
	return v.report, nil
}

// prepare reads the options.
func (v *verifier) prepare() (err error) {
	for _, vkey := range v.Keys {
		key, err := note.NewVerifier(strings.TrimSpace(vkey))
		if err != nil {
			return fmt.Errorf("%q is not the key of a log: want <name>+<hash>+<base64>, as in its vkey", shown(vkey))
		}
		v.keys = append(v.keys, key)
	}
	seen := map[string]bool{}
	for _, vkey := range v.Witnesses {
		w, err := NewWitness(strings.TrimSpace(vkey))
		if err != nil {
			return err
		}
		if public := string(w.(witness).public); seen[public] {
			return fmt.Errorf("witness %q is given twice, and counts once", w.Name())
		} else {
			seen[public] = true
		}
		v.witnesses = append(v.witnesses, w)
	}
	if v.Quorum < 0 || v.Quorum > len(v.witnesses) {
		return fmt.Errorf("%d witnesses cannot have signed: %d are given", v.Quorum, len(v.witnesses))
	}
	if v.Quorum == 0 {
		v.Quorum = len(v.witnesses)
	}
	v.tokens, err = newTokens(v.Tokens)
	return err
}

// read reads a file. What is no export ends the reading, and is a finding.
func (v *verifier) read(ctx context.Context, from *Reader) (File, bool, error) {
	f, err := from.Next(ctx)
	switch {
	case err == io.EOF:
		return File{}, false, nil
	case errors.Is(err, ErrFormat):
		v.malformed("%v", err)
		return File{}, false, nil
	}
	return f, err == nil, err
}

// malformed reports that the export cannot be read on.
func (v *verifier) malformed(format string, args ...any) {
	v.report.fail(ExtraBytes, Malformed, max(v.next, -1), format, args...)
	v.broken = true
}

// readEntries reads and checks the tiles and bundles, beginning with f. Bundles are checked at the same time, and their
// results are taken in their order.
func (v *verifier) readEntries(ctx context.Context, from *Reader, f File) error {
	var running sync.WaitGroup
	defer running.Wait()
	var queue []*job
	put := func(tile, bundle File) {
		j := &job{index: bundle.Index, width: bundle.Width, data: bundle.Data, done: make(chan struct{})}
		if tile.Width > 0 {
			j.tile = splitHashes(tile.Data)
		}
		running.Go(func() { j.run(v.events, v.tokens.wanted()) })
		queue = append(queue, j)
	}
	take := func() {
		j := queue[0]
		queue[0], queue = nil, queue[1:]
		<-j.done
		v.add(j)
	}
	var tile File // of the hashes of the bundle that comes next
	alone := func() {
		if tile.Width > 0 {
			put(tile, File{Index: tile.Index, Width: tile.Width})
		}
		tile = File{}
	}
	more, err := f.Width > 0, error(nil)
	for ; more && !v.broken; f, more, err = v.read(ctx, from) {
		switch {
		case f.Level > 0:
			if err := v.trees.addUpper(f); err != nil {
				v.report.fail(ExtraBytes, Malformed, -1, "%v", err)
			}
		case f.Level == 0:
			alone()
			tile = f
		default:
			if tile.Index != f.Index {
				alone()
			}
			put(tile, f)
			tile = File{}
		}
		v.stopIfHopeless()
		for len(queue) > runtime.GOMAXPROCS(0) && !v.broken {
			take()
		}
	}
	if err != nil {
		return err
	}
	for alone(); len(queue) > 0; {
		take()
	}
	return nil
}
