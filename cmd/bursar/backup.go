package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/envelope"
	"github.com/bursar-sts/bursar/cmd/internal/restore"
	"github.com/bursar-sts/bursar/server/backup"
)

func (p *program) backupCommand() *cobra.Command {
	var out string
	var texts, files []string
	cmd := p.onOneLog("backup (TENANT | --platform) -o FILE [--recipient KEY]...",
		"Copy a tenant into a file: its configuration, keys, secrets, revocations and log",
		func(ctx context.Context, c *operator.Client, slug string, asJSON bool) error {
			to, err := envelope.To(texts, files)
			if err != nil {
				return usage(err.Error(), "age-keygen makes a pair of keys, and prints the public one")
			}
			done, err := p.backUp(ctx, c, slug, out, to)
			switch {
			case err != nil:
				return err
			case asJSON:
				return p.printJSON(done)
			}
			lines := "its keys are sealed by the server's master key, without which it is of no use; the rest is in plain"
			if n := to.Count(); n > 0 {
				lines = fmt.Sprintf("it is encrypted to %d recipients: without the identity of one of them, and without the "+
					"server's master key, it is of no use", n)
			}
			_, err = fmt.Fprintf(p.out,
				"wrote %s: %d entries of the log, of which a signed head covers %d, and %d objects\n%s\n", harmless(out),
				done.Entries, done.Covered, done.Rows, lines)
			return err
		})
	cmd.Long = cmd.Short + `.

The file is one moment of the tenant, and the tenant goes on meanwhile. It holds who may do what, and who did what: keep
it as you keep the store, or encrypt it, to one or more recipients of age (age-encryption.org; "age-keygen" makes a
key). Nothing of it is written to this machine in plain then, and this machine cannot read it again. With --platform it
holds the directory of tenants, the operators and the log of the platform, and no tenant. "bursar restore" puts it
back.`
	cmd.Flags().Lookup("platform").Usage = "the platform"
	cmd.Flags().Lookup("tenant").Usage = "the tenant; the same as TENANT"
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write; it is readable by its owner alone")
	cmd.Flags().StringArrayVar(&texts, "recipient", nil, "public key (age1...) to encrypt it to; may be given again")
	cmd.Flags().StringArrayVar(&files, "recipients-file", nil, "file with such keys, one on each line; may be given again")
	must(cmd.MarkFlagRequired("output"))
	return cmd
}

// backedUp is what backup --json prints.
type backedUp struct {
	File       string `json:"file"`
	Entries    int64  `json:"entries"`
	Covered    int64  `json:"covered"`
	Rows       int    `json:"rows"`
	Recipients int    `json:"recipients"` // 0 is not encrypted
}

// backUp writes a backup, which is verified on the way, and looks what has arrived in the file before that gets its
// name.
func (p *program) backUp(ctx context.Context, c *operator.Client, slug, out string, to envelope.Recipients) (
	done backedUp, err error,
) {
	file, err := os.CreateTemp(filepath.Dir(out), ".bursar-backup-*") // with mode 0600
	if err != nil {
		return done, err
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err == nil {
			err = os.Rename(file.Name(), out)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	written := sha256.New()
	sealed, err := to.Seal(io.MultiWriter(file, written))
	if err != nil {
		return done, err
	}
	r, err := verified(sealed, func(w io.Writer) error {
		if slug == "" {
			return c.PlatformBackup(ctx, w)
		}
		return c.Backup(ctx, slug, w)
	})
	if err == nil {
		err = sealed.Close()
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = arrived(file, written.Sum(nil))
	}
	if err != nil {
		return done, err
	}
	return backedUp{File: out, Entries: r.Snapshot.Position.Index, Covered: r.Snapshot.Head.Size,
		Rows: len(r.Snapshot.Rows), Recipients: to.Count()}, nil
}

// verified writes what fill gives to w, and reads it on the way.
func verified(w io.Writer, fill func(io.Writer) error) (r *backup.Reader, err error) {
	from, copied := io.Pipe()
	read := make(chan error, 1)
	go func() {
		var err error
		r, err = backup.Verify(from)
		from.CloseWithError(err) // so that nobody waits for what is not read
		read <- err
	}()
	err = fill(io.MultiWriter(w, copied))
	copied.CloseWithError(err)
	if failed := <-read; err == nil && failed != nil {
		err = fmt.Errorf("read the backup: %w", failed)
	}
	return r, err
}

// arrived checks that a file has what was written to it.
func arrived(file *os.File, sum []byte) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	read := sha256.New()
	if _, err := io.Copy(read, file); err != nil {
		return err
	}
	if !bytes.Equal(read.Sum(nil), sum) {
		return errors.New("the file has something else than what was written to it")
	}
	return nil
}

func (p *program) restoreCommand() *cobra.Command {
	var config, identity string
	var replace bool
	var asJSON *bool
	cmd := command("restore FILE [--config FILE] [--identity FILE] [--replace]", "Put a tenant back as a backup has it",
		cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			c, secrets, err := openConfig(config)
			if err != nil {
				return err
			}
			keys, err := envelope.From(identity)
			if err != nil {
				return usage(err.Error(), "it is the file that age-keygen wrote")
			}
			done, err := restore.Run(ctx, restore.Config{Config: c, Secrets: secrets, File: args[0], Identities: keys,
				Replace: replace})
			switch {
			case errors.Is(err, envelope.ErrEncrypted):
				return &failure{code: exitRefused, text: err.Error(),
					hints: []string{"nothing was changed; give the file of an identity: --identity FILE"}}
			case errors.Is(err, envelope.ErrPlain):
				return &failure{code: exitRefused, text: err.Error(),
					hints: []string{"nothing was changed; if it is the right file, leave out --identity"}}
			case errors.Is(err, restore.ErrNewer):
				return &failure{code: exitRefused, text: err.Error(),
					hints: []string{"nothing was changed; to lose what is newer, give --replace"}}
			case err != nil:
				return err
			case *asJSON:
				return p.printJSON(done)
			}
			return p.printRestored(done)
		})
	p.configFlag(cmd, &config)
	asJSON = jsonFlag(cmd)
	cmd.Flags().StringVar(&identity, "identity", "", "file with the age identity of a recipient, for an encrypted backup")
	cmd.Flags().BoolVar(&replace, "replace", false, "even if the store has a newer state of the tenant")
	cmd.Long = cmd.Short + `.

It opens the store itself, so that no server may run: with a bolt store it is refused else, with Redis it is on you. The
master key must be the one that the backup was made under. The file is verified before anything is changed, and a tenant
is put back whole or not at all.

A backup that is older than what a server has signed is noticed at the next start, by the server's anchors: nothing is
issued for the tenant then, until "bursar audit accept-loss" says that what is missing cannot be had back.`
	return cmd
}

func (p *program) printRestored(r *restore.Restored) error {
	name := "tenant " + r.Tenant
	if r.Tenant == "" {
		name = "the platform"
	}
	lines := []string{fmt.Sprintf("restored %s: %d entries of the log, of which a signed head covers %d, and %d objects",
		name, r.Entries, r.Covered, r.Rows), fmt.Sprintf("it is as it was at %s; what was revoked since is not revoked: "+
		"revoke it again, before anything is issued", stamp(r.Made)),
		"next: start the server; if it signed more than this, it issues nothing until: bursar audit accept-loss"}
	for _, line := range lines {
		if _, err := fmt.Fprintln(p.out, harmless(line)); err != nil {
			return err
		}
	}
	return nil
}
