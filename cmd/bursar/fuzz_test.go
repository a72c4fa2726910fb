package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/bursar-sts/bursar/clients/operator"
)

// FuzzPrintEvent shows whatever a server sends as an event: in one line, and without obeying it.
func FuzzPrintEvent(f *testing.F) {
	f.Add(int64(4), []byte(`{"iat":1,"events":{"urn:bursar:event:token.exchange:v1":{"outcome":"allowed","tool":"pay"}}}`))
	f.Add(int64(-1), []byte(`{"iat":-62135596800,"events":{"\u001b[31m":{"reason":"\u202e\n","actions":["a","\r"]}}}`))
	f.Add(int64(0), []byte(`{"events":{"a":{"change":{"object":"\u0000","id":"x"}}}}`))
	f.Add(int64(0), []byte(`{"iat":9223372036854775807,"events":{"a":{"count":9}}}`))
	f.Add(int64(0), []byte(`{"events":{}}`))
	f.Fuzz(func(t *testing.T, index int64, claims []byte) {
		var out bytes.Buffer
		p := &program{out: &out}
		if err := p.printEvent(operator.Event{Index: index, Claims: claims}); err != nil {
			if out.Len() > 0 || len(claims) > 20 && strings.Contains(err.Error(), string(claims)) {
				t.Errorf("refused %q with %v and %q", claims, err, out.String())
			}
			return
		}
		line, ok := strings.CutSuffix(out.String(), "\n")
		if !ok || line == "" || strings.ContainsFunc(line, func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
		}) {
			t.Errorf("%q is shown as %q", claims, out.String())
		}
	})
}

// FuzzShellWord has a shell read what is printed for one.
func FuzzShellWord(f *testing.F) {
	for _, seed := range []string{"", "corp:alice", "it's", "$(id)",
		"a b", "-n", "~", "\\", "*", "!x", "`id`", "\xff", "a\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) || len(s) > 4096 {
			return // no argument holds it
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+shellWord(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q is read as %q: %v", s, out, err)
		}
	})
}

// FuzzEnabling holds that the command which is printed to undo a revocation names its very target.
func FuzzEnabling(f *testing.F) {
	f.Add("client", "bot")
	f.Add("subject", "corp:o'brien; rm -rf /")
	f.Add("tenant", "")
	f.Add("jti", "x")
	f.Fuzz(func(t *testing.T, kind, value string) {
		o := operator.Target{Kind: operator.CutoffKind(kind), Value: value}
		command := enabling("acme", o)
		switch {
		case kind == "tenant":
			if command != "bursar enable acme --all" {
				t.Errorf("%q", command)
			}
		case !o.Kind.Disables() && command != "", o.Kind.Disables() &&
			command != "bursar enable acme --"+kind+" "+shellWord(value):
			t.Errorf("%+v: %q", o, command)
		}
	})
}
