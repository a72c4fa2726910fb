package tenant

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/revoke"
	"github.com/bursar-sts/bursar/server/tools"
)

// Draft is a change of a tenant's configuration that has been found free of mistakes and is not made yet.
type Draft struct {
	Edits     []Edit       // what changes, in the file's order of kinds; empty if nothing does
	Unmanaged []ledger.Key // what exists and the file does not name; kept
	Change    ledger.Change
}

// Draft compares a file with the tenant as v has it, which may be a Bare view: a configuration that cannot be used can
// be replaced. What the file lacks is deleted only if prune is set. All mistakes of the result, the file's and what it
// would break, come back at once. Committing the draft's change fails with fault.ErrConflict if somebody else changed
// the tenant since v, or disabled something of it.
func (d *Directory) Draft(v *View, f *File, prune bool) (*Draft, error) {
	if v.Ring == nil {
		_, err := v.usable()
		return nil, err
	}
	draft, wanted := new(Draft), f.rows()
	draft.Edits, draft.Unmanaged = diff(v.allRows(), wanted, prune)
	known := v.Cutoffs.Seq
	draft.Change.Expect, draft.Change.Cutoffs = v.Revision, &known

	// The file's rows come first, so that the paths of mistakes are the file's own.
	result := slices.Clone(wanted)
	for _, key := range draft.Unmanaged {
		result = append(result, ledger.Row{Kind: key.Kind, ID: key.ID, Value: v.rows[key]})
	}
	refused := append(v.retired(f), v.holds().refuse(draft.Edits, v, f.paths())...)
	if err := f.joined(check(d.plan(v.ID, v.Slug), v.Policies, result, v.otherRows(), refused)); err != nil {
		return nil, err
	}
	for _, edit := range draft.Edits {
		draft.apply(edit, v)
	}
	added, err := missingKeys(v.Ring, f, d.Now())
	if err != nil {
		return nil, err
	}
	draft.Change.Put = append(draft.Change.Put, added...)
	return draft, nil
}

// DraftNew prepares a tenant that does not exist yet, with fresh keys for its tokens and its log, under a new internal
// id.
func (d *Directory) DraftNew(f *File) (ledger.Tenant, *Draft, error) {
	id := ledger.NewTenant()
	sealed, err := keys.Create(d.cfg.Master, id, d.Now(), signingAlgs(f)...)
	if err != nil {
		return "", nil, fmt.Errorf("create signing keys: %w", err)
	}
	log, err := keys.CreateLog(d.cfg.Master, id, d.Now())
	if err != nil {
		return "", nil, fmt.Errorf("create log keys: %w", err)
	}
	draft, wanted := new(Draft), f.rows()
	draft.Edits, _ = diff(nil, wanted, false)
	if err := f.joined(check(d.plan(id, f.Tenant), nil, wanted, sealed, nil)); err != nil {
		return "", nil, err
	}
	draft.Change.Put = slices.Concat(sealed, log, wanted)
	return id, draft, nil
}

// check builds the world that a change would leave behind and reports the tenant's mistakes.
func check(p plan, before *policy.Policy, file, other []ledger.Row, refused []string) error {
	p.draft, p.before = true, before
	_, found, err := p.build(append(slices.Clone(file), other...), 0)
	if err != nil {
		return fault.Wrap(fault.Internal, "tenant.unreadable", "The tenant's configuration cannot be read.", err)
	}
	if found = append(found, refused...); len(found) > 0 {
		return invalid("file.mistakes", found)
	}
	return nil
}

// retired lists the file's clients whose ids belonged to a deleted client.
func (v *View) retired(f *File) []string {
	var found problems
	for i, client := range f.Clients {
		if v.Retired(client.ID) {
			found.add(fmt.Sprintf("clients[%d].id", i), "belonged to a client that was deleted and cannot be used again")
		}
	}
	return found
}

// apply adds one edit to the change. Deleting an object revokes what was issued by or for it.
func (d *Draft) apply(edit Edit, v *View) {
	c := &d.Change
	if edit.Kind == KindTool {
		d.cutLost(edit)
	}
	if edit.Action != Delete {
		c.Put = append(c.Put, ledger.Row{Kind: edit.Kind, ID: edit.ID, Value: edit.After})
		if edit.Kind == KindClient && !usesSecrets(edit.After) {
			d.dropSecrets(edit.ID, v) // what leaked must not come back with the method one day
		}
		return
	}
	c.Delete = append(c.Delete, edit.Key)
	switch edit.Kind {
	case KindClient:
		d.cut(revoke.Client, edit.ID)
		c.Put = append(c.Put, ledger.Row{Kind: KindRetired, ID: retiredClient(edit.ID), Value: []byte("{}")})
		d.dropSecrets(edit.ID, v)
	case KindTool:
		d.cut(revoke.Tool, edit.ID)
	case KindIssuer:
		d.cut(revoke.Issuer, edit.ID)
	} // what a policy allowed ends with its tokens, minutes later; revoke for less
}

func (d *Draft) cut(kind revoke.Kind, value string) {
	d.Change.Cut = append(d.Change.Cut, ledger.Cut{Key: ledger.Key{Kind: string(kind), ID: value}, Keep: revoke.Keep})
}

// cutLost revokes what was issued for the resource that a tool loses. Tokens name the resource, which may be another
// tool's from now on, so that a cutoff of the tool's name would miss them.
func (d *Draft) cutLost(tool Edit) {
	before, _ := read[tools.Tool](tool.Before)
	after, _ := read[tools.Tool](tool.After)
	if before.Resource != "" && before.Resource != after.Resource {
		d.cut(revoke.Tool, before.Resource)
	}
}

// usesSecrets reports whether a client authenticates by a secret.
func usesSecrets(client []byte) bool {
	var c clients.Client
	err := json.Unmarshal(client, &c)
	return err == nil && (c.Auth.Method == clients.MethodSecretBasic || c.Auth.Method == clients.MethodSecretPost)
}

// dropSecrets deletes the secrets of a client.
func (d *Draft) dropSecrets(client string, v *View) {
	if _, has := v.Row(KindSecret, client); has {
		d.Change.Delete = append(d.Change.Delete, ledger.Key{Kind: KindSecret, ID: client})
	}
}

func signingAlgs(f *File) []keys.Alg {
	algs := []keys.Alg{keys.ES256}
	for _, tool := range f.Tools {
		if alg := tool.Alg(); alg.Known() && !slices.Contains(algs, alg) {
			algs = append(algs, alg)
		}
	}
	return algs
}

// missingKeys makes keys for algorithms that the file's tools need and the ring lacks.
func missingKeys(ring *keys.Ring, f *File, now time.Time) ([]ledger.Row, error) {
	var rows []ledger.Row
	for _, alg := range signingAlgs(f) {
		if ring.Has(alg) {
			continue
		}
		added, err := ring.Add(alg, now)
		if err != nil {
			return nil, fmt.Errorf("add a signing key: %w", err)
		}
		rows = append(rows, added...)
	}
	return rows, nil
}

// allRows returns every row of the tenant.
func (w *World) allRows() []ledger.Row {
	rows := make([]ledger.Row, 0, len(w.rows))
	for key, value := range w.rows {
		rows = append(rows, ledger.Row{Kind: key.Kind, ID: key.ID, Value: value})
	}
	slices.SortFunc(rows, compareRows)
	return rows
}

// otherRows returns the rows that a tenant file does not describe.
func (w *World) otherRows() []ledger.Row {
	return slices.DeleteFunc(w.allRows(), func(r ledger.Row) bool { return slices.Contains(FileKinds, r.Kind) })
}
