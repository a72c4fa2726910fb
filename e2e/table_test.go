package e2e_test

import (
	"bytes"
	"cmp"
	"net/http"
	"testing"

	"go.yaml.in/yaml/v3"
)

// table is testdata/acceptance.yaml, whose comments say what the fields mean.
type table struct {
	Bases     map[string]base  `yaml:"bases"`
	Rows      []yaml.Node      `yaml:"rows"`
	Elsewhere map[string]proof `yaml:"elsewhere"` // by id, what a request to a healthy server cannot show
}

type base struct {
	Set    map[string]string `yaml:"set"`
	Tokens map[string]recipe `yaml:"tokens"`
	Role   string            `yaml:"role"` // which parameter a row's token stands in
}

type row struct {
	ID   string `yaml:"id"`
	Says string `yaml:"says"`
	Name string `yaml:"name"` // of a variant

	Base   string            `yaml:"base"` // self if empty
	Both   bool              `yaml:"both"` // with the token as subject_token, and again in the delegated form of the base
	Tenant string            `yaml:"tenant"`
	Method string            `yaml:"method"`
	Set    map[string]string `yaml:"set"`
	Drop   []string          `yaml:"drop"`
	Repeat []string          `yaml:"repeat"` // parameters that are sent again, name or name=value
	Token  *recipe           `yaml:"token"`
	Tokens map[string]recipe `yaml:"tokens"`

	Type   *string           `yaml:"content_type"` // "" sends none
	Header map[string]string `yaml:"header"`
	Query  bool              `yaml:"query"`  // the form goes into the URL
	Form   string            `yaml:"form"`   // how it is written: json, multipart; as a form if empty
	Raw    *string           `yaml:"raw"`    // the body as it is
	Append string            `yaml:"append"` // raw text behind the form
	Many   int               `yaml:"many"`   // so many more parameters
	Size   int               `yaml:"size"`   // the body is filled up to so many bytes
	Stream bool              `yaml:"stream"` // without a Content-Length
	Slow   bool              `yaml:"slow"`   // the body never ends
	Once   int               `yaml:"once"`   // sent so often at once: one is served, the others are as expected
	Basic  bool              `yaml:"basic"`  // with the secret of secret-bot

	Mode string `yaml:"mode"` // of the issuer "faulty"
	Warm bool   `yaml:"warm"` // the request is sent once before, while that issuer is well

	Expect expect `yaml:"expect"`

	actor bool // of the two requests of a row for both, the one with an actor token
}

// delegatedForm is, of a base, the one in which its token is the actor's.
var delegatedForm = map[string]string{"": "delegated", "self": "delegated", "alone": "alone-delegated"}

type expect struct {
	Status   int               `yaml:"status"`
	Error    string            `yaml:"error"`
	Reason   string            `yaml:"reason"`   // in the log, with {role} for subject or actor
	Record   string            `yaml:"record"`   // issued, refused, counted or none; see record
	Headers  map[string]string `yaml:"headers"`  // "" means absent
	Closes   bool              `yaml:"closes"`   // the connection is closed
	NoBody   bool              `yaml:"no_body"`  // the body is empty
	Audience string            `yaml:"audience"` // aud of the issued token
	Scope    string            `yaml:"scope"`
	Actors   []string          `yaml:"actors"`  // sub of each act of the issued token, the current one first
	Alike    string            `yaml:"alike"`   // the id of an earlier row with the same answer
	Fetches  *int64            `yaml:"fetches"` // the forge's keys are fetched at most so often
}

// Records of a row's request in the log.
const (
	recordIssued  = "issued"  // one token.exchange: allowed
	recordRefused = "refused" // one token.exchange: denied, or error where the answer is a 5xx
	recordCounted = "counted" // one more of a deny.flood
	recordNone    = "none"
)

func (e expect) record() string {
	if e.Status == http.StatusOK {
		return cmp.Or(e.Record, recordIssued)
	}
	return cmp.Or(e.Record, recordRefused)
}

// strict reads YAML in which nothing may be unknown.
func strict(t *testing.T, text []byte, to any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

// rows returns every variant of every row, in both roles where that is asked for.
func (all *table) rows(t *testing.T) []row {
	t.Helper()
	var rows []row
	for _, node := range all.Rows {
		var file struct {
			Row      map[string]yaml.Node `yaml:",inline"`
			Variants []map[string]any     `yaml:"variants"`
		}
		if err := node.Decode(&file); err != nil {
			t.Fatal(err)
		}
		if len(file.Variants) == 0 {
			file.Variants = []map[string]any{{}}
		}
		for _, v := range file.Variants {
			var r row
			for _, part := range []any{file.Row, v} {
				text, err := yaml.Marshal(part)
				if err != nil {
					t.Fatal(err)
				}
				strict(t, text, &r)
			}
			rows = append(rows, r)
			if r.Both {
				r.Base, r.actor = delegatedForm[r.Base], true
				rows = append(rows, r)
			}
		}
	}
	return rows
}

func (r row) title() string {
	title := r.ID
	if r.Name != "" {
		title += " " + r.Name
	}
	if r.actor {
		title += " (actor)"
	}
	return title
}
