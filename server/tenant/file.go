package tenant

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/scopes/policy"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/identity"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tools"
)

// APIVersion is the version of the tenant file.
const APIVersion = "bursar/v1"

// MaxFile bounds a tenant file, in bytes.
const MaxFile = 1 << 20

// Kinds of rows that a tenant file describes, in the order in which they are listed.
const (
	KindIssuer = "issuer"
	KindClient = "client"
	KindTool   = "tool"
	KindPolicy = "policy"
)

// FileKinds are the kinds of rows that a tenant file describes.
var FileKinds = []string{KindIssuer, KindClient, KindTool, KindPolicy}

// Kinds of rows that other parts of the server own.
const (
	KindSecret   = "client_secret"
	KindOperator = "operator"
	KindRetired  = "retired" // names that are never used again: client/<id>
)

// File is a tenant's desired configuration: who it trusts, who its clients are, what they can call, and which of them
// may do what. One document a tenant.
type File struct {
	// APIVersion is "bursar/v1".
	APIVersion string `json:"apiVersion"`
	// Tenant is the slug of the tenant that the file describes.
	Tenant   string            `json:"tenant"`
	Issuers  []identity.Issuer `json:"issuers,omitempty"`
	Clients  []clients.Client  `json:"clients,omitempty"`
	Tools    []tools.Tool      `json:"tools,omitempty"`
	Policies []policy.Rule     `json:"policies,omitempty"`

	form form // what is wrong with it, if it was read by ReadFile
}

// ParseFile reads a tenant file, YAML or JSON, and accepts no mistake of form; it reports all of them at once. Whether
// the objects fit together is found when they are built into a World.
func ParseFile(data []byte) (*File, error) {
	f, err := ReadFile(data)
	if err == nil {
		err = f.joined(nil)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ReadFile reads a tenant file as far as it can be read. What is wrong with its form is told by Draft and DraftNew,
// which refuse it, together with what is wrong with its meaning. The error is that of a file of which no more can be
// found out: it is no document, has too many mistakes, or does not say whose it is.
func ReadFile(data []byte) (*File, error) {
	if len(data) > MaxFile {
		return nil, invalid("file.too_large", []string{fmt.Sprintf("is larger than %d bytes", MaxFile)})
	}
	var r reader
	f := new(File)
	read := r.decode(data, f)
	if read && !slices.Contains(r.bad, "apiVersion") && f.APIVersion != APIVersion {
		r.problems.add("apiVersion", "must be "+APIVersion)
	}
	named := scopes.CheckSlug(f.Tenant)
	if read && !slices.Contains(r.bad, "tenant") {
		r.problems.err("tenant", named)
	}
	if !read || named != nil || len(r.problems) > maxProblems {
		return nil, invalid("file.malformed", r.problems)
	}
	f.form = form{r.problems, r.bad}
	return f, nil
}

func invalid(reason string, found []string) *fault.Error {
	e := fault.New(fault.Invalid, reason, "The tenant's configuration has mistakes; mend all of them and apply it again.")
	e.Problems = found
	return e
}

// rows returns the objects as rows, each once; objects that share a name are a mistake that building the World reports.
func (f *File) rows() []ledger.Row {
	var rows []ledger.Row
	add := func(kind, id string, object any) {
		value, err := json.Marshal(object)
		if err != nil { // every type here marshals: they came from JSON
			panic(fmt.Sprintf("marshal %s %s: %v", kind, id, err))
		}
		rows = append(rows, ledger.Row{Kind: kind, ID: id, Value: value})
	}
	for _, x := range f.Issuers {
		add(KindIssuer, x.Name, x)
	}
	for _, x := range f.Clients {
		add(KindClient, x.ID, x)
	}
	for _, x := range f.Tools {
		add(KindTool, x.Name, x)
	}
	for _, x := range f.Policies {
		add(KindPolicy, x.ID, x)
	}
	return rows
}

// paths returns where the file has each of its objects.
func (f *File) paths() map[ledger.Key]string {
	paths := map[ledger.Key]string{}
	for i, x := range f.Issuers {
		paths[ledger.Key{Kind: KindIssuer, ID: x.Name}] = fmt.Sprintf("issuers[%d]", i)
	}
	for i, x := range f.Clients {
		paths[ledger.Key{Kind: KindClient, ID: x.ID}] = fmt.Sprintf("clients[%d]", i)
	}
	for i, x := range f.Tools {
		paths[ledger.Key{Kind: KindTool, ID: x.Name}] = fmt.Sprintf("tools[%d]", i)
	}
	for i, x := range f.Policies {
		paths[ledger.Key{Kind: KindPolicy, ID: x.ID}] = fmt.Sprintf("policies[%d]", i)
	}
	return paths
}

// fromRows reads the objects of a tenant back from its rows.
func fromRows(rows []ledger.Row) (*File, error) {
	f := new(File)
	for _, row := range rows {
		var err error
		switch row.Kind {
		case KindIssuer:
			f.Issuers, err = appendRow(f.Issuers, row)
		case KindClient:
			f.Clients, err = appendRow(f.Clients, row)
		case KindTool:
			f.Tools, err = appendRow(f.Tools, row)
		case KindPolicy:
			f.Policies, err = appendRow(f.Policies, row)
		}
		if err != nil {
			return nil, fmt.Errorf("read row %s/%s: %w", row.Kind, row.ID, err)
		}
	}
	return f, nil
}

func appendRow[T any](list []T, row ledger.Row) ([]T, error) {
	var x T
	if err := json.Unmarshal(row.Value, &x); err != nil {
		return nil, err
	}
	return append(list, x), nil
}
