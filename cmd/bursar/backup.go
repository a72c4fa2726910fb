package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/cmd/internal/restore"
	"github.com/bursar-sts/bursar/server/backup"
)

func (p *program) backupCommand() *cobra.Command {
	var out string
	cmd := p.onOneLog("backup (TENANT | --platform) -o FILE",
		"Copy a tenant into a file: its configuration, keys, revocations and log",
		func(ctx context.Context, c *operator.Client, slug string, asJSON bool) error {
			done, err := p.backUp(ctx, c, slug, out)
			switch {
			case err != nil:
				return err
			case asJSON:
				return p.printJSON(done)
			}
			_, err = fmt.Fprintf(p.out, "wrote %s: %d entries of the log, of which a signed head covers %d, and %d objects\n"+
				"its keys are sealed by the server's master key, without which it is of no use; the rest is in plain\n",
				harmless(out), done.Entries, done.Covered, done.Rows)
			return err
		})
	cmd.Long = cmd.Short + `.

The file is one moment of the tenant, and the tenant goes on meanwhile. It holds who may do what, and who did what: keep
it as you keep the store. With --platform it holds the directory of tenants, the operators and the log of the platform,
and no tenant. "bursar restore" puts it back.`
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write; it is readable by its owner alone")
	must(cmd.MarkFlagRequired("output"))
	return cmd
}

// backedUp is what backup --json prints.
type backedUp struct {
	File    string `json:"file"`
	Entries int64  `json:"entries"`
	Covered int64  `json:"covered"`
	Rows    int    `json:"rows"`
}

// backUp writes a backup, and reads it back before it gets its name.
func (p *program) backUp(ctx context.Context, c *operator.Client, slug, out string) (done backedUp, err error) {
	to, err := os.CreateTemp(filepath.Dir(out), ".bursar-backup-*") // with mode 0600
	if err != nil {
		return done, err
	}
	defer func() {
		err = errors.Join(err, to.Close())
		if err == nil {
			err = os.Rename(to.Name(), out)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(to.Name()))
		}
	}()
	if slug == "" {
		err = c.PlatformBackup(ctx, to)
	} else {
		err = c.Backup(ctx, slug, to)
	}
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		_, err = to.Seek(0, io.SeekStart)
	}
	if err != nil {
		return done, err
	}
	r, err := backup.Verify(to)
	if err != nil {
		return done, fmt.Errorf("read the backup back: %w", err)
	}
	return backedUp{File: out, Entries: r.Snapshot.Position.Index, Covered: r.Snapshot.Head.Size,
		Rows: len(r.Snapshot.Rows)}, nil
}

func (p *program) restoreCommand() *cobra.Command {
	var config string
	var replace bool
	var asJSON *bool
	cmd := command("restore FILE [--config FILE] [--replace]", "Put a tenant back as a backup has it", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			c, secrets, err := openConfig(config)
			if err != nil {
				return err
			}
			done, err := restore.Run(ctx, restore.Config{Config: c, Secrets: secrets, File: args[0], Replace: replace})
			switch {
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
