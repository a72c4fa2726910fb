package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
)

// logOf answers like a server whose log has size events, and grows by one for each follower's connection, which it
// then drops. When it has grown enough it ends whoever reads.
type logOf struct {
	size, grown int64
	stop        context.CancelFunc
}

func (l *logOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	after, err := strconv.ParseInt(r.FormValue("after"), 10, 64)
	if err != nil || r.FormValue("uncovered") != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if after < 0 {
		after = max(0, l.size+after)
	}
	follow := r.FormValue("follow") == "true"
	if follow && after == l.size && l.size == l.grown {
		l.stop()
	} else if follow && after == l.size {
		l.size++
	}
	for ; after < l.size; after++ {
		fmt.Fprintf(w, `{"index":%d,"set":"x","claims":{"iat":1,"events":{"urn:bursar:event:token.exchange:v1":`+
			`{"outcome":"denied"}}}}`+"\n", after)
	}
	if !follow {
		fmt.Fprintf(w, `{"next":%d}`+"\n", after)
	}
}

func TestTail(t *testing.T) {
	for _, row := range []struct {
		name        string
		size, grown int64
		count       int
		follow      bool
		want        []int64
	}{
		{"the newest", 5, 5, 2, false, []int64{3, 4}},
		{"a short log", 1, 1, 10, false, []int64{0}},
		{"an empty log", 0, 0, 10, false, nil},
		{"none", 5, 5, 0, false, nil},
		{"the newest, then what comes", 5, 8, 2, true, []int64{3, 4, 5, 6, 7}},
		{"only what comes", 5, 7, 0, true, []int64{5, 6}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := httptest.NewServer(&logOf{size: row.size, grown: row.grown, stop: cancel})
			defer server.Close()
			var out bytes.Buffer
			p := &program{out: &out, err: io.Discard}
			client := &operator.Client{BaseURL: server.URL, Token: "brs_op_x"}
			err := p.tail(ctx, client.Log("acme"), row.count, operator.StreamQuery{Follow: row.follow}, true)
			var got []int64
			for line := range strings.Lines(out.String()) {
				var e operator.Event
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Index)
			}
			if err != nil || !slices.Equal(got, row.want) {
				t.Errorf("got %v, %v, want %v", got, err, row.want)
			}
		})
	}
}

func TestTailFailsIfItCannotBegin(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client := &operator.Client{BaseURL: server.URL, Token: "brs_op_x"}
	p := &program{out: io.Discard, err: io.Discard}
	err := p.tail(t.Context(), client.Log("acme"), 1, operator.StreamQuery{Follow: true}, false)
	if explain(&ran{err}).code != exitUnknown {
		t.Errorf("err = %v", err)
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "2h": now.Add(-2 * time.Hour), "90m": now.Add(-90 * time.Minute), "0s": now,
		"2026-01-02T03:04:05Z": now, "2026-01-02T05:04:05+02:00": now,
	} {
		if got, err := moment("since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-2h", "yesterday", "2026-01-02", "1"} {
		if _, err := moment("since", text, now); explain(&ran{err}).code != exitUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// An outcome has its colour on a terminal, and what an outsider had written into the log has none.
func TestColours(t *testing.T) {
	e := operator.Event{Index: 7, Claims: []byte(`{"iat":1767323045,"events":{"urn:bursar:event:token.exchange:v1":` +
		`{"outcome":"denied","reason":"a\u001b[31mb"}}}`)}
	var out bytes.Buffer
	if err := (&program{out: &out, outColor: true}).printEvent(e); err != nil {
		t.Fatal(err)
	}
	const want = "     7  2026-01-02T03:04:05Z  token.exchange    \x1b[33mdenied \x1b[0m  reason=a�[31mb\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// Every code that a finding can have has a hint.
func TestEveryFindingHasAHint(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../clients/auditor/report.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if kind, ok := v.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if hint := logHints[auditor.Code(code)]; err != nil || hint == "" || strings.Contains(hint, "\n") {
			t.Errorf("%s has no hint", v.Names[0])
		}
		found++
		return true
	})
	if found != len(logHints) || found < 20 {
		t.Errorf("there are %d codes and %d hints", found, len(logHints))
	}
}

func TestTold(t *testing.T) {
	for want, f := range map[string]auditor.Finding{
		"forked":                        {Kind: auditor.Forked, Index: -1},
		"edited, entry 0":               {Kind: auditor.Edited},
		"truncated, entries 5 to 9":     {Kind: auditor.Truncated, Index: 5, To: 9},
		"reordered, entries 300 and 30": {Kind: auditor.Reordered, Index: 300, To: 30},
	} {
		if got := told(f); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
