package logapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/servertest"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

const log = "/t/acme/log/"

// want asks for a path and returns the body of an answer that has the status.
func (w *world) want(status int, path string, header ...string) string {
	w.t.Helper()
	resp, body := w.get(path, header...)
	if resp.StatusCode != status {
		w.t.Fatalf("%s: answered %d %s", path, resp.StatusCode, body)
	}
	return body
}

// checkpoint opens the newest checkpoint below a log's path with the key that is published there.
func (w *world) checkpoint(base, name string) auditor.Checkpoint {
	w.t.Helper()
	key := strings.TrimSuffix(w.want(200, base+"vkey", "Authorization", ""), "\n")
	verifier, err := note.NewVerifier(key)
	if err != nil {
		w.t.Fatal(err)
	}
	c, _, err := auditor.OpenCheckpoint([]byte(w.want(200, base+"checkpoint")), verifier)
	if err != nil {
		w.t.Fatal(err)
	}
	if verifier.Name() != name || c.Origin != name {
		w.t.Errorf("the key of %s, the checkpoint of %s", verifier.Name(), c.Origin)
	}
	return c
}

// TestATreeCanBeReadWithoutUs rebuilds the tree of each log from what is served, with golang.org/x/mod/sumdb alone.
func TestATreeCanBeReadWithoutUs(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.record("acme", 700)
		entries := w.entries("acme")
		c := w.checkpoint(log, "sts.example/t/acme/log")
		if c.Size != int64(len(entries)) {
			t.Fatalf("the checkpoint is of %d entries, the log has %d", c.Size, len(entries))
		}
		var stored []tlog.Hash
		for n := int64(0); n*256 < c.Size; n++ {
			width := int(min(256, c.Size-n*256))
			bundle := w.want(200, log+auditor.BundlePath(n, width))
			hashes := w.want(200, log+auditor.TilePath(0, n, width))
			split, err := auditor.SplitBundle([]byte(bundle))
			if err != nil || len(split) != width || len(hashes) != width*tlog.HashSize {
				t.Fatalf("bundle %d: %d entries and %d bytes of hashes, %v", n, len(split), len(hashes), err)
			}
			for i, entry := range split {
				leaf := tlog.RecordHash(entry)
				if !bytes.Equal(entry, entries[n*256+int64(i)]) || hashes[32*i:][:32] != string(leaf[:]) {
					t.Fatalf("entry %d of bundle %d is not the log's", i, n)
				}
				more, err := tlog.StoredHashesForRecordHash(n*256+int64(i), leaf, reader(stored))
				if err != nil {
					t.Fatal(err)
				}
				stored = append(stored, more...)
			}
		}
		if root, err := tlog.TreeHash(c.Size, reader(stored)); err != nil || root != c.Root {
			t.Errorf("the root is %v, want %v; %v", root, c.Root, err)
		}
		above, err := tlog.ReadTileData(tlog.Tile{H: 8, L: 1, N: 0, W: 2}, reader(stored))
		if got := w.want(200, log+"tile/1/000.p/2"); err != nil || got != string(above) {
			t.Errorf("the tile above is %x", got)
		}
		w.checkpoint("/log/", "sts.example/log")
	})
}

func reader(stored []tlog.Hash) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		got := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			got[i] = stored[index]
		}
		return got, nil
	})
}

// sections splits a proof into its lines, its hashes and the checkpoint.
func sections(t *testing.T, text string, head int) (first []string, hashes []tlog.Hash, c auditor.Checkpoint) {
	t.Helper()
	before, after, _ := strings.Cut(text, "\n\n")
	all := strings.Split(strings.TrimSuffix(before, "\n"), "\n")
	for _, line := range all[head:] {
		h, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(h) != tlog.HashSize {
			t.Fatalf("%q is no hash", line)
		}
		hashes = append(hashes, tlog.Hash(h))
	}
	if after != "" {
		body, _, _ := strings.Cut(after, "\n\n")
		var err error
		if c, err = auditor.ParseCheckpoint(body + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	return all[:head], hashes, c
}

func TestProofsHold(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		var decisions, tokens []string
		w.record("acme", 12, func(_ int, e *audit.Event) {
			e.Body.DecisionID, e.Body.Token.JTI = ledger.NewID(time.Now()), ledger.NewID(time.Now())
			decisions, tokens = append(decisions, e.Body.DecisionID), append(tokens, e.Body.Token.JTI)
		})
		w.record("acme", 290)
		entries := w.entries("acme")
		prove := func(query string, want int64) {
			t.Helper()
			first, hashes, c := sections(t, w.want(200, log+"proof?"+query), 2)
			if first[0] != "c2sp.org/tlog-proof@v1" || first[1] != "index "+strconv.FormatInt(want, 10) {
				t.Errorf("%s begins with %q", query, first)
			}
			if err := tlog.CheckRecord(hashes, c.Size, c.Root, want, tlog.RecordHash(entries[want])); err != nil {
				t.Errorf("%s: %v", query, err)
			}
		}
		for _, n := range []int64{0, 1, 255, 256, int64(len(entries)) - 1} {
			prove(fmt.Sprintf("index=%d", n), n)
		}
		for i, e := range entries {
			var set struct {
				JTI    string
				Events map[string]audit.Body
			}
			claims, err := audit.Claims(e)
			if err != nil || json.Unmarshal(claims, &set) != nil {
				t.Fatal(err)
			}
			for _, b := range set.Events {
				if len(decisions) > 0 && b.DecisionID == decisions[0] {
					if b.Token.JTI != tokens[0] {
						t.Fatalf("entry %d is of another token", i)
					}
					prove("jti="+set.JTI, int64(i))
					prove("jti="+b.Token.JTI, int64(i))
					prove("decision="+b.DecisionID, int64(i))
					decisions, tokens = decisions[1:], tokens[1:]
				}
			}
		}
		if len(decisions) > 0 {
			t.Errorf("%d decisions are not in the log in their order", len(decisions))
		}
		size := int64(len(entries))
		for _, from := range []int64{1, 255, 256, size} {
			first, hashes, c := sections(t, w.want(200, fmt.Sprintf("%sconsistency?from=%d", log, from)), 1)
			stored := []tlog.Hash{}
			for i, e := range entries[:from] {
				more, err := tlog.StoredHashes(int64(i), e, reader(stored))
				if err != nil {
					t.Fatal(err)
				}
				stored = append(stored, more...)
			}
			old, err := tlog.TreeHash(from, reader(stored))
			if err != nil || first[0] != fmt.Sprintf("old %d", from) {
				t.Fatalf("begins with %q, %v", first, err)
			}
			if err := tlog.CheckTree(hashes, c.Size, c.Root, from, old); err != nil {
				t.Errorf("from %d: %v", from, err)
			}
			fixed := w.want(200, fmt.Sprintf("%sconsistency?from=%d&to=%d", log, from, c.Size))
			if _, again, none := sections(t, fixed, 1); len(again) != len(hashes) || none.Size != 0 {
				t.Errorf("to a given size: %s", fixed)
			}
		}
		if _, hashes, c := sections(t, w.want(200, log+"consistency?from=0"), 1); len(hashes) != 0 || c.Size != size {
			t.Errorf("from nothing: %d hashes to %d", len(hashes), c.Size)
		}
	})
}

func TestWhatTheTreeDoesNotHave(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.record("acme", 300)
		size := len(w.entries("acme"))
		w.prune("acme", 256)
		past := fmt.Sprint(size - 256 + 1)
		for path, status := range map[string]int{
			"tile/0/000": 410, "tile/0/000.p/3": 410, "tile/entries/000": 410, "tile/1/000.p/1": 200,
			"tile/0/001.p/1": 200, "tile/entries/001.p/1": 200, "tile/0/001": 404, "tile/entries/001": 404,
			"tile/0/001.p/" + past: 404, "tile/entries/001.p/" + past: 404, "tile/1/000": 404, "tile/5/000.p/1": 404,
			"tile/0/x001/000": 404, "tile/0/1": 404, "tile/0/001.p/0": 404, "tile/0/001.p/256": 404, "tile/0/x000/001": 404,
			"tile/0/001/": 404, "tile/00/001": 404, "tile/9/001": 404, "tile/": 404, "tile": 404, "tile/entries/": 404,
			"tile/entries/-01": 404, "tile/%30/001": 404, "tile/0%2F001": 404, "": 404, "checkpoint/": 404, "Checkpoint": 404,
			"tile//0/001": 404, "tile/../checkpoint": 404, "tile/0/001.p/1?x=1": 400, "checkpoint?size=3": 400,
			"proof":               400,
			"proof?index=":        400,
			"proof?index=-1":      400,
			"proof?index=1e3":     400,
			"proof?index=300&x=1": 400,
			"proof?index=300&jti=" + ledger.NewID(time.Now()): 400,
			"proof?index=300":                            200,
			"proof?index=0":                              410,
			"proof?index=999999":                         404,
			"proof?jti=x":                                400,
			"proof?decision=x":                           400,
			"proof?jti=" + ledger.NewID(time.Now()):      404,
			"proof?decision=" + ledger.NewID(time.Now()): 404,
			"proof?index=300&index=301":                  400,
			"consistency":                                400,
			"consistency?from=2&to=1":                    400,
			"consistency?from=1&to=999999":               404,
			"consistency?from=999999":                    400,
			"consistency?from=260&to=270":                200,
			"vkey?x=1":                                   400,
			"nothing":                                    404,
		} {
			resp, body := w.get(log + path)
			if resp.StatusCode != status {
				t.Errorf("%s: answered %d %s", path, resp.StatusCode, body)
			}
			if status == 200 {
				continue
			}
			var p operator.Problem
			if resp.Header.Get("Content-Type") == "application/problem+json" {
				if err := json.Unmarshal([]byte(body), &p); err != nil {
					t.Fatal(err)
				}
			}
			if p.Status != status || p.Detail == "" || (p.First == 256) != (status == 410) ||
				resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: answered %v %s", path, resp.Header, body)
			}
		}
		w.Store.Set(storagetest.Position, storagetest.NotApplied)
		defer w.Store.Set(storagetest.Position, storagetest.Works)
		if resp, body := w.get(log + "vkey"); resp.StatusCode != 503 && resp.StatusCode != 200 {
			t.Errorf("without a store: %d %s", resp.StatusCode, body)
		}
	})
}

func TestOnlyReading(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	if text := w.want(200, "/.well-known/oauth-authorization-server/t/acme"); strings.Contains(text, "/log") {
		t.Errorf("the metadata of clients names the log: %s", text)
	}
	for _, path := range []string{log + "checkpoint", log + "proof?index=0", log + "tile/0/000.p/1", "/log/checkpoint",
		log + "vkey", log + "keys", "/log/vkey"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			if resp, body := w.send(method, path); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: answered %d %s", method, path, resp.StatusCode, body)
			}
		}
		full, text := w.get(path)
		head, none := w.send("HEAD", path)
		if full.StatusCode != 200 || head.StatusCode != 200 || none != "" ||
			full.Header.Get("Content-Type") != head.Header.Get("Content-Type") ||
			head.Header.Get("Content-Length") != fmt.Sprint(len(text)) && !strings.Contains(path, "checkpoint") &&
				!strings.Contains(path, "proof") {
			t.Errorf("HEAD %s: answered %d %v", path, head.StatusCode, head.Header)
		}
	}
}

// TestWhoMayRead compares what strangers are told of tenants that exist and of those that do not.
func TestWhoMayRead(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		auditorToken, editor := w.operator("acme", admin.Auditor), w.operator("acme", admin.Editor)
		adminToken, other := w.operator("acme", admin.Admin), w.operator("globex", admin.Admin)
		for _, path := range []string{"checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1", "proof?index=0",
			"consistency?from=1"} {
			for _, row := range []struct {
				name, token     string
				known, platform int // the status
				unknown         int
			}{
				{"nobody", "", 401, 401, 401},
				{"a wrong token", "brs_op_x", 401, 401, 401},
				{"a token of nobody", admin.NewToken("acme"), 401, 404, 404},
				{"an auditor", auditorToken, 200, 404, 404},
				{"an admin", adminToken, 200, 404, 404},
				{"an editor", editor, 403, 404, 404},
				{"another tenant's admin", other, 404, 404, 404},
				{"the platform's admin", w.admin.Token, 200, 200, 404},
			} {
				bearer := "Bearer " + row.token
				if row.token == "" {
					bearer = ""
				}
				ask := func(path string) (*http.Response, string) { return w.get(path, "Authorization", bearer) }
				known, text := ask(log + path)
				unknown, nothing := ask("/t/nowhere/log/" + path)
				platform, _ := ask("/log/" + path)
				if known.StatusCode != row.known || unknown.StatusCode != row.unknown || platform.StatusCode != row.platform {
					t.Errorf("%s asks for %s: answered %d, %d, %d", row.name, path, known.StatusCode, unknown.StatusCode,
						platform.StatusCode)
				}
				challenge := known.Header.Get("WWW-Authenticate")
				if (known.StatusCode == 401) != strings.HasPrefix(challenge, "Bearer ") {
					t.Errorf("%s: challenged with %q", row.name, challenge)
				}
				same := known.StatusCode == unknown.StatusCode
				if same && (text != nothing || challenge != unknown.Header.Get("WWW-Authenticate")) {
					t.Errorf("%s is told of acme %s and of nowhere %s", row.name, text, nothing)
				}
			}
		}
		for _, path := range []string{"vkey", "keys"} {
			resp, body := w.get("/t/nowhere/log/"+path, "Authorization", "")
			jwks, want := w.get("/t/nowhere/jwks.json", "Authorization", "")
			if resp.StatusCode != 404 || jwks.StatusCode != 404 || body != want {
				t.Errorf("%s of nowhere: answered %d %s, want %s", path, resp.StatusCode, body, want)
			}
			resp, _ = w.get(log+path, "Authorization", "")
			if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "*" ||
				resp.Header.Get("Cache-Control") != "public, max-age=60" {
				t.Errorf("%s: answered %d %v", path, resp.StatusCode, resp.Header)
			}
		}
		key, err := note.NewVerifier(strings.TrimSpace(w.want(200, log+"vkey", "Authorization", "")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := auditor.OpenKeys([]byte(w.want(200, log+"keys", "Authorization", "")), key.Name(), key); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatMayBeKept(t *testing.T) {
	w := newWorld(t, servertest.Options{})
	w.record("acme", 300)
	w.want(200, log+"checkpoint") // which covers them
	for path, want := range map[string][2]string{
		"checkpoint":           {"text/plain; charset=utf-8", "no-store"},
		"tile/0/000":           {"application/octet-stream", "private, max-age=31536000, immutable"},
		"tile/entries/000":     {"application/octet-stream", "private, max-age=31536000, immutable"},
		"tile/entries/001.p/1": {"application/octet-stream", "private, max-age=300"},
		"tile/1/000.p/1":       {"application/octet-stream", "private, max-age=300"},
		"proof?index=3":        {"text/plain; charset=utf-8", "no-store"},
		"consistency?from=3":   {"text/plain; charset=utf-8", "no-store"},
	} {
		resp, _ := w.get(log + path)
		if got := resp.Header; resp.StatusCode != 200 || got.Get("Content-Type") != want[0] ||
			got.Get("Cache-Control") != want[1] || got.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: answered %d %v", path, resp.StatusCode, got)
		}
	}
	plain, text := w.get(log+"tile/entries/000", "Accept-Encoding", "identity")
	for accept, packed := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false,
		"gzip; q=0.000": false, "deflate": false, "x-gzipped": false} {
		resp, body := w.get(log+"tile/entries/000", "Accept-Encoding", accept)
		if (resp.Header.Get("Content-Encoding") == "gzip") != packed || packed == (body == text) ||
			packed && len(body) > len(text)/2 {
			t.Errorf("%s: answered %v, %d of %d bytes", accept, resp.Header, len(body), len(text))
		}
	}
	if _, unpacked := w.get(log + "tile/entries/000"); unpacked != text || plain.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("unpacked %d of %d bytes", len(unpacked), len(text))
	}
}
