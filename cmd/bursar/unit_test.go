package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.yaml.in/yaml/v3"

	"github.com/bursar-sts/bursar/clients/operator"
)

// logOf answers like a server whose log grows to size while somebody waits, and which is away now and then.
type logOf struct {
	size, grown int64
	calls       int
	away        func(call int) bool
	asked       []operator.EventQuery
	stop        context.CancelFunc
}

func (l *logOf) read(_ context.Context, q operator.EventQuery) (*operator.Events, error) {
	l.calls++
	l.asked = append(l.asked, q)
	if l.away != nil && l.away(l.calls) {
		return nil, fmt.Errorf("%w: refused", operator.ErrNoAnswer)
	}
	after := q.After
	if after < 0 {
		after = max(0, l.size+after)
	}
	if after == l.size && q.Wait > 0 {
		if l.size++; l.size > l.grown {
			l.stop()
			return nil, context.Canceled
		}
	}
	page := &operator.Events{Next: after}
	for ; page.Next < l.size && page.Next-after < int64(q.Limit); page.Next++ {
		page.Events = append(page.Events, operator.Event{Index: page.Next})
	}
	return page, nil
}

func TestTail(t *testing.T) {
	rows := []struct {
		name        string
		size, grown int64
		count       int
		follow      bool
		away        func(int) bool
		want        []int64
	}{
		{"the newest", 5, 5, 2, false, nil, []int64{3, 4}},
		{"a short log", 1, 1, 10, false, nil, []int64{0}},
		{"an empty log", 0, 0, 10, false, nil, nil},
		{"none", 5, 5, 0, false, nil, nil},
		{"the newest, then what comes", 5, 8, 2, true, nil, []int64{3, 4, 5, 6, 7}},
		{"only what comes", 5, 7, 0, true, nil, []int64{5, 6}},
		{"nothing is lost while the server is away", 5, 7, 1, true, func(call int) bool { return call > 1 && call%3 != 0 },
			[]int64{4, 5, 6}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				log := &logOf{size: row.size, grown: row.grown, away: row.away, stop: cancel}
				var got []int64
				err := tail(ctx, log.read, row.count, row.follow, func(e operator.Event) error {
					got = append(got, e.Index)
					return nil
				})
				if err != nil || !slices.Equal(got, row.want) {
					t.Errorf("got %v, %v, want %v", got, err, row.want)
				}
			})
		})
	}
}

func TestTailFailsIfItCannotBegin(t *testing.T) {
	log := &logOf{away: func(int) bool { return true }}
	if err := tail(t.Context(), log.read, 1, true, nil); explain(&ran{err}).code != exitUnknown {
		t.Errorf("err = %v", err)
	}
}

func TestClause(t *testing.T) {
	for in, want := range map[string]string{
		"The log is full.":        "the log is full",
		"A key is missing.":       "a key is missing",
		"TLS is required.":        "TLS is required",
		"base_url: is required":   "base_url: is required",
		"":                        "",
		"ok\x1b[31m\u202e\r\nred": "ok�[31m���red",
		"\xff":                    "�",
	} {
		if got := clause(in); got != want {
			t.Errorf("clause(%q) = %q, want %q", in, got, want)
		}
	}
}

// Whatever a file holds, its documents read alone are those of the file read whole, on the same lines.
func FuzzSplit(f *testing.F) {
	f.Add("tenant: acme\n")
	f.Add("# a\n---\ntenant: acme\n--- # b\ntenant: globex\n...\n")
	f.Add("tenant: acme\nnote: |\n  ---\n  text\n")
	f.Add("--- {tenant: a}\n---\n---\ntenant: b")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := split([]byte(text))
		if err != nil || strings.Contains(text, "%") { // directives are no part of a tenant file
			return
		}
		dec := yaml.NewDecoder(strings.NewReader(text))
		for _, d := range all {
			var whole, alone yaml.Node
			for whole.IsZero() || len(whole.Content) == 1 && whole.Content[0].Tag == "!!null" {
				whole = yaml.Node{}
				if dec.Decode(&whole) != nil {
					return // the file as a whole is not YAML; the server will say so of the part
				}
			}
			if err := yaml.NewDecoder(bytes.NewReader(d.text)).Decode(&alone); err != nil {
				t.Fatalf("document %q: %v", d.text, err)
			}
			if a, b := tenantLine(&alone), tenantLine(&whole); a != b {
				t.Fatalf("tenant on line %d, in the file on line %d", a, b)
			}
		}
	})
}

func tenantLine(n *yaml.Node) int {
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "tenant" {
			return n.Content[i].Line
		}
	}
	return 0
}

// What a token holds is shown, never obeyed.
func FuzzDecode(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJpYXQiOjF9.x")
	f.Add("eyJ9..")
	f.Add("e30.eyJleHAiOjFlMzB9.")
	f.Fuzz(func(t *testing.T, compact string) {
		found, err := decode(compact)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := (&program{out: &out}).printInspected(found); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Fatalf("%q writes to the terminal", compact)
		}
		if !json.Valid(found.Claims) {
			t.Fatal("claims that are not JSON")
		}
	})
}
