package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

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
