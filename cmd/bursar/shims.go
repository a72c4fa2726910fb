package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/outpost"
	"github.com/bursar-sts/bursar/storage/redis"
)

func (p *program) keysShimCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	var tenants []string
	var output, name, revoke string
	var list bool
	cmd := command("shim (--tenants A,B -o FILE [--name NAME] | --list [--tenants A,B] | --revoke ID [--tenants A,B])",
		"Make the key of a standalone shim, which opens the secrets of some tenants", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if !list && revoke == "" && (len(tenants) == 0 || output == "") {
				return usage("name the tenants whose secrets the shim is to use, and the file that gets its key",
					"bursar keys shim --tenants acme,globex -o shim.key")
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			switch {
			case list:
				return p.listShims(ctx, client, tenants, *asJSON)
			case revoke != "":
				return p.revokeShim(ctx, client, tenants, revoke, *asJSON)
			}
			return p.makeShim(ctx, client, shimMaker{tenants: tenants, output: output, name: name}, *asJSON)
		})
	cmd.Long = cmd.Short + `.

The key is made here, and only its public halves are sent. bursar-shim reads the file (shim_key of shim.yaml). It opens
the secrets of the tenants that are named and no others, and signs what the shim does in their logs. Beside the file the
shim needs a user of the Redis; what that may do is printed.

A shim that is revoked opens nothing that is stored from then on. What it could open before may be known to whoever had
its key: rotate those secrets.`
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	cmd.Flags().StringSliceVar(&tenants, "tenants", nil, "the tenants (to list or revoke: all of them)")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file that gets the key; it must not exist yet")
	cmd.Flags().StringVar(&name, "name", "", "a name for people, such as edge-1")
	cmd.Flags().BoolVar(&list, "list", false, "list the shims")
	cmd.Flags().StringVar(&revoke, "revoke", "", "end the shim with this id at once")
	cmd.MarkFlagsMutuallyExclusive("list", "revoke", "output")
	return cmd
}

// shimMaker makes the key of one shim.
type shimMaker struct {
	tenants      []string
	output, name string
}

// madeShim is what keys shim --json prints.
type madeShim struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Tenants []string `json:"tenants"`
	File    string   `json:"file"`
	// ACL are the words of ACL SETUSER behind the name of the user; its password is missing.
	ACL []string `json:"redis_acl"`
}

// makeShim makes a key and has the tenants trust it: all of them, or none.
func (p *program) makeShim(ctx context.Context, c *operator.Client, m shimMaker, asJSON bool) error {
	file, err := os.OpenFile(m.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return &failure{code: exitRefused, text: err.Error(), hints: []string{"a key is never overwritten; each shim has " +
			"one of its own: name another file, or end the old shim first (bursar keys shim --revoke) and remove its file"}}
	case err != nil:
		return err
	}
	key, err := m.trusted(ctx, c)
	if err == nil {
		err = writeShimKey(file, key)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(m.output))
	}
	done := madeShim{ID: key.ID, Name: m.name, Tenants: m.tenants, File: m.output}
	var ids []ledger.Tenant
	for _, t := range key.Tenants() {
		ids = append(ids, t.ID)
	}
	done.ACL = append([]string{"reset", "on"}, redis.GuestRights(ids, outpost.Kinds()...)...)
	if asJSON {
		return p.printJSON(done)
	}
	user := strings.TrimSuffix("bursar-shim-"+m.name, "-")
	_, err = fmt.Fprintf(p.out, "wrote %s, the key of shim %s for %s: take it to where bursar-shim runs, and leave no "+
		"copy\n\n"+
		"A user of the Redis for this shim (put a password of its own in the place of PASSWORD):\n\n"+
		"ACL SETUSER %s reset on >PASSWORD %s\n\nA user of that name is replaced by it.\n",
		harmless(m.output), key.ID, harmless(strings.Join(m.tenants, ", ")), user, strings.Join(done.ACL[2:], " "))
	return err
}

func writeShimKey(file *os.File, key *keys.ShimKey) error {
	content, err := key.File()
	if err == nil {
		_, err = file.Write(content)
	}
	return errors.Join(err, file.Sync())
}

// trusted makes the key. Where one tenant refuses, those that did not are told that the shim is no more.
func (m shimMaker) trusted(ctx context.Context, c *operator.Client) (*keys.ShimKey, error) {
	key, err := keys.NewShimKey()
	if err != nil {
		return nil, err
	}
	public := key.Public()
	r := operator.ShimRequest{Name: m.name, EventKey: base64.RawURLEncoding.EncodeToString(public.Event),
		RecipientKey: base64.RawURLEncoding.EncodeToString(public.Recipient)}
	for i, slug := range m.tenants {
		done, err := c.TrustShim(ctx, slug, r)
		if err == nil && done.ID != key.ID {
			err = errors.New("the server answers with another shim")
		}
		var grantor []byte
		if err == nil {
			grantor, err = base64.RawURLEncoding.Strict().DecodeString(done.Grantor)
		}
		if err != nil {
			for _, before := range m.tenants[:i+1] { // of the last one it may not be known
				_, _ = c.RevokeShim(context.WithoutCancel(ctx), before, key.ID)
			}
			return nil, inTenant(slug, err)
		}
		key = key.Trusted(keys.ShimTenant{Slug: slug, ID: ledger.Tenant(done.TenantID), Grantor: ed25519.PublicKey(grantor)})
	}
	return key, nil
}

// inTenant says which of several tenants an error is about.
func inTenant(slug string, err error) error {
	problem, ok := errors.AsType[*operator.Problem](err)
	if !ok {
		return fmt.Errorf("tenant %s: %w", slug, err)
	}
	f := explainProblem(problem)
	f.text = "tenant " + slug + ": " + clause(f.text)
	return f
}

// named returns the tenants that were named, or else all.
func named(ctx context.Context, c *operator.Client, tenants []string) ([]string, error) {
	if len(tenants) > 0 {
		return tenants, nil
	}
	all, err := c.Tenants(ctx)
	for _, t := range all {
		tenants = append(tenants, t.Tenant)
	}
	return tenants, err
}

// shimLine is a shim of one tenant.
type shimLine struct {
	Tenant string `json:"tenant"`
	operator.Shim
}

func (p *program) listShims(ctx context.Context, c *operator.Client, tenants []string, asJSON bool) error {
	tenants, err := named(ctx, c, tenants)
	if err != nil {
		return err
	}
	var lines []shimLine
	for _, slug := range tenants {
		all, err := c.Shims(ctx, slug)
		if err != nil {
			return inTenant(slug, err)
		}
		for _, s := range all {
			lines = append(lines, shimLine{slug, s})
		}
	}
	return show(p, asJSON, lines, "SHIM NAME TENANT STATE CREATED", func(l shimLine) []string {
		return []string{l.ID, l.Name, l.Tenant, string(l.State), stamp(l.Created)}
	})
}

// shimEnd is what became of a shim in one tenant.
type shimEnd struct {
	Tenant string `json:"tenant"`
	operator.RevokedShim
}

// revokeShim ends a shim in every tenant that knows it. One that fails keeps no other from being told.
func (p *program) revokeShim(ctx context.Context, c *operator.Client, tenants []string, id string, asJSON bool) error {
	tenants, err := named(ctx, c, tenants)
	if err != nil {
		return err
	}
	var ended []shimEnd
	var failed []error
	for _, slug := range tenants {
		done, err := c.RevokeShim(ctx, slug, id)
		problem, _ := errors.AsType[*operator.Problem](err)
		switch {
		case err == nil:
			ended = append(ended, shimEnd{slug, *done})
		case problem == nil || problem.Code() != operator.CodeNotFound:
			failed = append(failed, inTenant(slug, err))
		}
	}
	if len(ended) == 0 && len(failed) == 0 {
		return &failure{code: exitRefused, text: "no tenant knows that shim",
			hints: []string{"list those that there are: bursar keys shim --list"}}
	}
	if asJSON {
		err = p.printJSON(ended)
	} else {
		for _, e := range ended {
			_, err = fmt.Fprintln(p.out, harmless(endOf(e, id)))
		}
	}
	if len(failed) == 0 {
		return err
	}
	f := &failure{code: explain(&ran{failed[0]}).code, text: "the shim is not ended everywhere",
		hints: []string{"run it again: what is ended stays so"}}
	for _, err := range failed {
		f.details = append(f.details, err.Error())
	}
	return f
}

// endOf says what a revocation did, and what is left to do.
func endOf(e shimEnd, id string) string {
	text := fmt.Sprintf("%s: ended %s", e.Tenant, id)
	switch {
	case e.Rotated:
		text += "; a new data key seals the secrets"
	case e.Secrets > 0:
		text += "; it ended before, or another shim must be ended first: then bursar keys rotate " + e.Tenant + " --vault"
	}
	if e.Secrets > 0 {
		text += fmt.Sprintf("; %s could be opened by it: rotate them if its key may be in wrong hands",
			plural(int64(e.Secrets), "secret"))
	}
	return text + ". Delete its user of the Redis, too"
}
