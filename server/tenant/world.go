package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/keys"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
	"github.com/bursar-sts/bursar/server/vault"
)

// World is everything that one tenant has configured, compiled, at one revision. It is immutable and swapped whole;
// code that holds a World has no way to name another tenant.
type World struct {
	ID       ledger.Tenant
	Slug     string
	Issuer   string // "{base_url}/t/{slug}", the iss of its tokens
	Revision int64

	Issuers *identity.Pool
	// ClientKeys reads the keys that its clients publish.
	ClientKeys clients.KeySource

	Clients  *clients.Registry
	Tools    *tools.Tools
	Policies *policy.Policy
	Ring     *keys.Ring
	// Vault has the tenant's secrets. What is wrong with it is wrong with the secrets alone.
	Vault *vault.Vault
	// Shimmed says that a standalone shim may write the tenant's log.
	Shimmed bool

	rows   map[ledger.Key][]byte
	broken error     // why nothing but the rows may be used; nil if all is well
	again  time.Time // when it is to be compiled again all the same; zero is never
}

// Origin names the tenant's log.
func (w *World) Origin() audit.Origin { return audit.Origin{Tenant: w.ID, Issuer: w.Issuer} }

// Row returns the stored value of one object.
func (w *World) Row(kind, id string) (json.RawMessage, bool) {
	value, ok := w.rows[ledger.Key{Kind: kind, ID: id}]
	return value, ok
}

// Rows returns the stored objects of one kind, in the order of their ids.
func (w *World) Rows(kind string) []ledger.Row {
	var rows []ledger.Row
	for key, value := range w.rows {
		if key.Kind == kind {
			rows = append(rows, ledger.Row{Kind: key.Kind, ID: key.ID, Value: value})
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows
}

// plan is what a World is built from.
type plan struct {
	id      ledger.Tenant
	slug    string
	issuer  string
	base    string
	shim    string
	ceiling []netip.Prefix
	sources *identity.Sources
	master  keys.Master
	// draft says that the rows are not in force yet. A draft must also keep what the platform allows; what is stored has
	// to be read even if the platform allows less now, or nobody could mend it. Nothing private is dialled either way.
	draft bool
	// before is the policy of an earlier world, whose rules need not be compiled again if they are unchanged; or nil.
	before *policy.Policy
	// vault is that of an earlier world, which knows what was seen of each secret; or nil.
	vault   *vault.Vault
	backend vault.Backend // keeps the values of secrets; or nil
}

// build compiles rows. The problems are the tenant's mistakes, all of them; the error is a row or key that cannot be
// read, which is not the tenant's doing. The world always has its rows.
func (p plan) build(rows []ledger.Row, revision int64) (*World, []string, error) {
	w := &World{ID: p.id, Slug: p.slug, Issuer: p.issuer, Revision: revision, rows: make(map[ledger.Key][]byte, len(rows))}
	for _, row := range rows {
		w.rows[ledger.Key{Kind: row.Kind, ID: row.ID}] = row.Value
	}
	w.Vault = p.open(rows)
	f, err := fromRows(rows)
	if err != nil {
		return w, nil, err
	}
	var secrets []clients.SecretSet
	var sealed []ledger.Row
	for _, row := range rows {
		switch row.Kind {
		case KindSecret:
			if secrets, err = appendRow(secrets, row); err != nil {
				return w, nil, fmt.Errorf("read row %s/%s: %w", row.Kind, row.ID, err)
			}
		case keys.KindDEK, keys.KindKey:
			sealed = append(sealed, row)
		case keys.KindShim:
			w.Shimmed = true
		}
	}
	if w.Ring, err = keys.Open(p.master, p.id, sealed); err != nil {
		return w, nil, fmt.Errorf("open signing keys: %w", err)
	}
	if size := conditionSize(f); size > MaxConditions {
		return w, []string{fmt.Sprintf("the conditions of all issuers, clients and policies have %d bytes together; "+
			"at most %d are allowed", size, MaxConditions)}, nil
	}
	return w, w.compile(p, f, secrets), nil
}

// open reads the tenant's secrets.
func (p plan) open(rows []ledger.Row) *vault.Vault {
	sealer, err := keys.OpenVault(p.master, p.id, rows)
	if err != nil && !errors.Is(err, keys.ErrNoKey) {
		return vault.Broken(err, rows).After(p.vault)
	}
	return vault.Open(sealer, p.backend, rows).After(p.vault)
}

// MaxConditions bounds the conditions of a tenant together, in bytes, and with them the time that compiling them takes.
const MaxConditions = 128 << 10

func conditionSize(f *File) (size int) {
	for _, x := range f.Issuers {
		size += len(x.Condition)
	}
	for _, x := range f.Clients {
		for _, binding := range x.Identities {
			size += len(binding.Condition)
		}
	}
	for _, x := range f.Policies {
		size += len(x.Condition)
	}
	return size
}

// compile fills the world from the file's objects and lists all mistakes.
func (w *World) compile(p plan, f *File, secrets []clients.SecretSet) []string {
	var found problems
	conditions := make(map[string]identity.Condition, len(f.Issuers))
	for i, issuer := range f.Issuers {
		path := fmt.Sprintf("issuers[%d]", i)
		found.under(path, issuer.Check())
		if issuer.Condition != "" {
			condition, err := policy.NewCondition(issuer.Condition)
			found.err(path+".condition", err)
			conditions[issuer.Name] = condition
		}
	}
	var list []string
	w.Tools, list = tools.New(f.Tools, tools.Place{BaseURL: p.base, ShimURL: p.shim, Tenant: p.slug, Stored: !p.draft})
	found = append(found, list...)
	w.Clients, list = clients.NewRegistry(clients.Config{
		Clients: f.Clients, Secrets: secrets, Glob: policy.Glob, CheckGlob: policy.CheckGlob,
		Condition: func(expr string) (clients.Condition, error) { return policy.NewCondition(expr) },
	})
	found = append(found, list...)
	w.Policies, list = policy.Compile(f.Policies, p.before)
	found = append(found, list...)
	checkReferences(&found, p, f, w.Tools)
	if len(found) == 0 && !p.draft { // nothing is fetched, or kept to be fetched, for what is not in force
		w.ClientKeys = clientKeys{p.sources, p.id, p.ceiling}
		w.Issuers = p.sources.Pool(p.id, p.ceiling, f.Issuers, conditions)
	}
	return found
}

// checkReferences finds objects that name others wrongly: the mistakes that no object can see by itself.
func checkReferences(found *problems, p plan, f *File, known *tools.Tools) {
	issuers := map[string]identity.Issuer{}
	urls := map[string]string{}
	for i, x := range f.Issuers {
		path := fmt.Sprintf("issuers[%d]", i)
		if _, twice := issuers[x.Name]; twice {
			found.add(path+".name", "is used twice")
		}
		if x.Name == token.ClientIssuer {
			found.add(path+".name", "is reserved: the subjects of its tokens would be named like clients of ours")
		}
		for _, at := range []struct{ field, uri string }{{"issuer", x.Issuer}, {"jwks_uri", x.JWKSURI}} {
			if _, ours := tools.Under(at.uri, p.base); ours {
				found.add(path+"."+at.field, "lies under this server's own address; the tokens of this server are not identities")
			}
		}
		issuers[x.Name] = x
		for _, key := range x.Selectors() {
			if other, taken := urls[key]; taken {
				found.add(path, fmt.Sprintf("would accept the same tokens as issuer %s; an identity must have one meaning", other))
			}
			urls[key] = x.Name
		}
		if p.draft && x.Network.AllowPrivate && len(p.ceiling) == 0 {
			found.add(path+".network.allow_private", noCeiling(p.slug))
		}
	}
	for i, x := range f.Tools {
		if p.draft && x.Upstream != nil && x.Upstream.Network.AllowPrivate && len(p.ceiling) == 0 {
			found.add(fmt.Sprintf("tools[%d].upstream.network.allow_private", i), noCeiling(p.slug))
		}
	}
	ids := map[string]bool{}
	for i, x := range f.Clients {
		path := fmt.Sprintf("clients[%d]", i)
		ids[x.ID] = true
		for j, binding := range x.Identities {
			issuer, ok := issuers[binding.Issuer]
			switch at := fmt.Sprintf("%s.identities[%d].issuer", path, j); {
			case !ok:
				found.add(at, "is not an issuer of this tenant")
			case !issuer.Uses(identity.Workload):
				found.add(at, "names an issuer whose use does not include workload")
			}
		}
		for j, name := range x.Tools {
			if _, ok := known.Named(name); !ok {
				found.add(fmt.Sprintf("%s.tools[%d]", path, j), "is not a tool of this tenant")
			}
		}
		if p.draft && x.Auth.Network.AllowPrivate && len(p.ceiling) == 0 {
			found.add(path+".auth.network.allow_private", noCeiling(p.slug))
		}
	}
	for i, x := range f.Policies {
		checkPolicy(found, fmt.Sprintf("policies[%d]", i), x, known, ids, issuers)
	}
}

func noCeiling(slug string) string {
	return "the platform allows this tenant no private addresses (tenants." + slug + ".private_cidrs in bursar.yaml)"
}

func checkPolicy(found *problems, path string, x policy.Rule, known *tools.Tools, ids map[string]bool,
	issuers map[string]identity.Issuer) {
	for _, list := range []struct {
		field string
		ids   []string
	}{{"clients", x.Clients}, {"delegates", x.Delegates}} {
		for j, id := range list.ids {
			if !ids[id] {
				found.add(fmt.Sprintf("%s.%s[%d]", path, list.field, j), "is not a client of this tenant")
			}
		}
	}
	for j, word := range x.From {
		scope, err := scopes.Parse(word)
		if source, ok := known.Named(scope.Tool); err == nil && (!ok || !slices.Contains(source.Actions, scope.Action)) {
			found.add(fmt.Sprintf("%s.from[%d]", path, j), "is not an action of a tool of this tenant")
		}
	}
	tool, ok := known.Named(x.Tool)
	if !ok {
		found.add(path+".tool", "is not a tool of this tenant")
	}
	for j, action := range x.Actions {
		if ok && !slices.Contains(tool.Actions, action) {
			found.add(fmt.Sprintf("%s.actions[%d]", path, j), "is not an action of tool "+tool.Name)
		}
	}
	for j, match := range x.OnBehalfOf {
		issuer, ok := issuers[match.Issuer]
		switch at := fmt.Sprintf("%s.on_behalf_of[%d].issuer", path, j); {
		case !ok:
			found.add(at, "is not an issuer of this tenant")
		case !issuer.Uses(identity.Subject):
			found.add(at, "names an issuer whose use does not include subject")
		}
	}
}

// Ours reports whether a URI lies under this server's own address.
func (w *World) Ours(uri string) bool {
	_, ours := tools.Under(uri, strings.TrimSuffix(w.Issuer, "/t/"+w.Slug))
	return ours
}

// Retired reports whether a client of that id was deleted; the id is never used again, because what was issued or
// written about its first owner must not become true of another.
func (w *World) Retired(client string) bool {
	_, gone := w.Row(KindRetired, retiredClient(client))
	return gone
}

func retiredClient(id string) string { return KindClient + "/" + id }
