package e2e_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// audited is a world whose log is exported and verified from outside.
type audited struct {
	*world
	dir string // of the files of whoever verifies
	key string // of the log of acme, in a file
}

func newAudited(t *testing.T, w *world) *audited {
	t.Helper()
	a := &audited{w, t.TempDir(), ""}
	a.key = a.write(t, "vkey", []byte(harness.Get(t, w.Issuer("acme")+"/log/vkey").Body))
	return a
}

func (a *audited) path(name string) string { return filepath.Join(a.dir, name) }

func (a *audited) write(t *testing.T, name string, data []byte) (path string) {
	t.Helper()
	if err := os.WriteFile(a.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return a.path(name)
}

// exchanges has so many tokens issued, several at a time.
func (a *audited) exchanges(t *testing.T, count int) {
	t.Helper()
	form := harness.Form(a.workload(t), payments, readRefunds)
	var running sync.WaitGroup
	for each := range slices.Chunk(make([]struct{}, count), (count+7)/8) {
		running.Go(func() {
			for range each {
				if answer, err := a.acme().Send(t.Context(), "token", form); err != nil || answer.Token() == "" {
					t.Errorf("exchange: %v, %+v", err, answer)
				}
			}
		})
	}
	running.Wait()
}

// export exports the log of acme.
func (a *audited) export(t *testing.T, name string) (path string) {
	t.Helper()
	a.run(t, "audit", "export", "--tenant", "acme", "-o", a.path(name))
	return a.path(name)
}

// exits runs a command, which must end with a code, and returns what it printed.
func (a *audited) exits(t *testing.T, code int, args ...string) string {
	t.Helper()
	out, err := a.Bursar(t, args...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Fatalf("bursar %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return out
}

// verify verifies an export, which must end with a code, and returns what it printed in one line first, and all of it.
func (a *audited) verify(t *testing.T, code int, path string, more ...string) (first, all string) {
	t.Helper()
	all = a.exits(t, code, append([]string{"audit", "verify", path, "--key", "@" + a.key}, more...)...)
	first, _, _ = strings.Cut(all, "\n")
	return first, all
}

// report verifies an export and returns the report.
func (a *audited) report(t *testing.T, code int, path string, more ...string) (r auditor.Report, passed bool) {
	t.Helper()
	_, out := a.verify(t, code, path, append(more, "--json")...)
	var document struct {
		Passed *bool `json:"passed"`
		auditor.Report
	}
	// What follows the document is for people.
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&document); err != nil || document.Passed == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return document.Report, *document.Passed
}

func holds(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in\n%s", part, text)
		}
	}
}

// A log of more than one tile is exported and verified, and one of its events is proved, with the commands alone.
func TestALogIsExportedAndVerified(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		a := newAudited(t, w)
		a.exchanges(t, 270)
		token := a.write(t, "token.jwt", []byte(w.token(t)+"\n"))
		state := a.path("state")

		log := a.export(t, "acme.tar")
		first, all := a.verify(t, 0, log, "--state", state, "--token", token, "--issuer", w.Issuer("acme"))
		holds(t, first, "passed: ", " events of "+strings.TrimPrefix(w.Issuer("acme"), "http://")+"/log, ")
		holds(t, all, "integrity     ok\n", "completeness  partly\n", "not checked:\n", "is on record, entry ")
		a.exchanges(t, 1)
		grown := a.export(t, "grown.tar.gz")
		if r, passed := a.report(t, 0, grown, "--state", state); !passed || r.Completeness != auditor.OK || r.Entries < 272 {
			t.Errorf("%+v", r)
		}

		// The first one is an older state now, and that is remembered.
		first, all = a.verify(t, 1, log, "--state", state)
		holds(t, first, "FAILED: rolled-back, entr")
		holds(t, all, "bursar: error: the log did not pass\n", "bursar: hint: somebody restored an older store")
		a.verify(t, 0, grown, "--state", state, "--old", state)

		// Other forms of it.
		unpacked := a.path("unpacked")
		for name, data := range readTar(t, log) {
			path := filepath.Join(unpacked, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a.verify(t, 0, unpacked)
		a.run(t, "audit", "export", "--platform", "-o", a.path("platform.tar"))
		holds(t, a.exits(t, 0, "audit", "verify", a.path("platform.tar"), "--key",
			strings.TrimSpace(harness.Get(t, w.BaseURL+"/log/vkey").Body)), "passed: ")

		// What could not be told is not passed.
		holds(t, a.exits(t, 3, "audit", "verify", log), "could not tell: ", "--key", "no key was given")
		a.verify(t, 3, a.path("nothing"))
		a.verify(t, 3, token)
		a.exits(t, 2, "audit", "verify", log, "--key", "nonsense")
		a.verify(t, 2, log, "--witness", "nonsense")
		a.verify(t, 2, log, "--quorum", "1")
		if first, _ := a.verify(t, 1, log, "--issuer", w.Issuer("globex")); !strings.Contains(first, "wrong-tenant") {
			t.Error(first)
		}
		workload := a.write(t, "agent.jwt", []byte(w.workload(t)))
		first, _ = a.verify(t, 1, log, "--token", workload)
		holds(t, first, "FAILED: unrecorded")
		matches, _ := filepath.Glob(filepath.Join(a.dir, ".*"))
		if len(matches) > 0 {
			t.Errorf("what was not finished is left: %q", matches)
		}
	})
}

// An event is proved, and the proof convinces somebody who has the key and never saw the server.
func TestAnEventIsProved(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		a := newAudited(t, w)
		id := harness.ID(w.token(t))
		proof, event := a.path("event.tlog-proof"), a.path("event.jws")
		out := a.exits(t, 0, "audit", "prove", "acme", "--jti", id, "--key", "@"+a.key, "-o", proof, "--event", event)
		holds(t, out, "proved: entry ", "(token.exchange)", "by the key that was given")
		text, vkey, entry := readFile(t, proof), readFile(t, a.key), readFile(t, event)
		parsed, err := auditor.ParseProof([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed.Verify([]byte(entry), vkey); err != nil {
			t.Error(err)
		}
		holds(t, a.exits(t, 0, "audit", "prove", "acme", "--index", "0"), "the server itself publishes", "\nindex 0\n")

		out = a.exits(t, 0, "audit", "show", "acme", "--jti", id)
		holds(t, out, "token.exchange    allowed", `"jti": "`+id+`"`, "\nsignature: good, key ", "\nproved: entry ")
		var shown struct{ SET, Signature string }
		err = json.Unmarshal([]byte(a.exits(t, 0, "audit", "show", "acme", "--jti", id, "--json")), &shown)
		if err != nil || shown.SET != entry || shown.Signature != "good" {
			t.Errorf("%v %+v", err, shown)
		}
		a.exits(t, 0, "audit", "show", "--platform", "0")
		a.exits(t, 1, "audit", "show", "acme", "100000")
		a.exits(t, 1, "audit", "prove", "acme", "--decision", "06h2hr8ca6gq83p0io15uvgr42pderesvmj0")
		// The key of another log.
		other := strings.TrimSpace(harness.Get(t, w.BaseURL+"/log/vkey").Body)
		holds(t, a.exits(t, 1, "audit", "show", "acme", "0", "--key", other), "the proof does not hold")

		out = a.exits(t, 0, "audit", "search", "acme", "--event", "token", "--outcome", "allowed", "--jti", id)
		if strings.Count(out, "\n") != 1 || !strings.Contains(out, "jti="+id) {
			t.Errorf("found %q", out)
		}
		if out := a.exits(t, 0, "audit", "search", "acme", "--until", "1h"); out != "" {
			t.Errorf("an hour ago there was %q", out)
		}
	})
}

// Whoever has an older copy of the store and the server's keys can make a log that verifies. What was remembered shows
// that it is another one.
func TestWhatWasRememberedShowsARollbackAndAFork(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		a := newAudited(t, w)
		a.exchanges(t, 2)
		restore := w.SaveStore(t)
		w.Restart(t)
		a.exchanges(t, 3)
		state := a.path("state")
		before, _ := a.report(t, 0, a.export(t, "before.tar"), "--state", state)
		old := a.write(t, "old", []byte(before.Checkpoint))

		restore()
		if err := os.RemoveAll(filepath.Join(w.Dir, "anchors")); err != nil { // nobody is to notice
			t.Fatal(err)
		}
		w.Restart(t)
		w.Stop() // which it records
		w.Restart(t)
		short := a.export(t, "short.tar")
		a.verify(t, 0, short) // alone, it is as it should be
		r, _ := a.report(t, 0, short)
		if r.Size >= before.Size {
			t.Fatalf("it has %d entries, and had %d", r.Size, before.Size)
		}
		for _, flags := range [][]string{{"--state", state}, {"--old", old}} {
			r, passed := a.report(t, 1, short, flags...)
			f := r.FirstError()
			if passed || f.Kind != auditor.RolledBack || f.Index != r.Size || f.To != before.Size-1 {
				t.Errorf("%+v", f)
			}
		}

		a.exchanges(t, 10)
		forked := a.export(t, "forked.tar")
		a.verify(t, 0, forked)
		for _, flags := range [][]string{{"--state", state}, {"--old", old}} {
			first, all := a.verify(t, 1, forked, flags...)
			holds(t, first, "FAILED: forked")
			r, passed := a.report(t, 1, forked, flags...)
			f := r.FirstError()
			if passed || f.Kind != auditor.Forked || f.To != before.Size-1 || len(f.Evidence) != 2 {
				t.Errorf("%+v", f)
			}
			for line := range strings.Lines(before.Checkpoint) { // the evidence is what nobody can deny
				holds(t, all, strings.TrimSpace(line))
			}
		}
		if got := readFile(t, state); got != before.Checkpoint {
			t.Errorf("what was remembered is now %q", got)
		}
	})
}
