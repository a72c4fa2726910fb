package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/e2e/harness"
)

// An event that somebody changed in the store is named by whoever verifies the log: in the file, while no server runs,
// or in the Redis of one that does.
func TestAnEventThatWasChangedInTheStore(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for range 5 {
			w.token(t)
		}
		outside := w.Auditor(t, "acme")
		outside.Passes(t, w.Server)
		const index = 3
		w.meddle(t, "acme", func(s stored) {
			entries := s.entries()
			header, rest, _ := strings.Cut(entries[index], ".")
			payload, signature, _ := strings.Cut(rest, ".")
			claims, err := base64.RawURLEncoding.DecodeString(payload)
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(claims, []byte(`"iat":1`), []byte(`"iat":2`), 1)
			if bytes.Equal(changed, claims) {
				t.Fatalf("nothing was changed in %s", claims)
			}
			entries[index] = header + "." + base64.RawURLEncoding.EncodeToString(changed) + "." + signature
			s.putEntries(entries)
		})
		w.token(t)
		r := outside.Verify(t, w.Server)
		finds(t, r, auditor.Edited)
		if f := r.FirstError(); f == nil || f.Index != index || r.Integrity != auditor.Failed {
			t.Errorf("found %+v, want entry %d", f, index)
		}
	})
}

// A log whose keys are gone, or are those of another tenant, is not written, and the server says why. Other logs are.
func TestALogWhoseKeysWereTaken(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.withGlobex(t)
		form, spared := harness.Form(w.workload(t), payments, readRefunds), w.globexForm(t)
		w.acme().MustExchange(t, form)
		w.At("globex").MustExchange(t, spared)
		var own, others map[string]string
		w.meddle(t, "acme", func(s stored) { own = s.logKeys() })
		w.meddle(t, "globex", func(s stored) { others = s.logKeys() })
		if len(own) != 3 || len(others) != 3 {
			t.Fatalf("the keys of the logs are %d and %d rows, want 3", len(own), len(others))
		}
		for _, c := range []struct {
			name string
			keys map[string]string
			says string
		}{
			{"gone", nil, "open log keys: data key: no such key"},
			{"another tenant's", others, "open log keys: open data key"},
		} {
			before, err := os.ReadFile(w.Output())
			if err != nil {
				t.Fatal(err)
			}
			w.meddle(t, "acme", func(s stored) { s.putLogKeys(c.keys) })
			w.Stop() // a server that runs knows the keys
			w.Restart(t)
			a := w.acme().Exchange(t, form)
			if a.Status != http.StatusServiceUnavailable || a.Token() != "" || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: status %d %s", c.name, a.Status, a.Body)
			}
			w.At("globex").MustExchange(t, spared)
			said, err := os.ReadFile(w.Output())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(said[len(before):]), c.says) {
				t.Errorf("%s: the server did not say %q", c.name, c.says)
			}
		}
		w.meddle(t, "acme", func(s stored) { s.putLogKeys(own) })
		w.acme().MustExchange(t, form)
		w.Auditor(t, "acme").Passes(t, w.Server)
	})
}

// stored is what a store has of a tenant, for whoever can write to it.
type stored interface {
	entries() []string
	putEntries([]string)
	logKeys() map[string]string // rows, by kind/id
	putLogKeys(map[string]string)
}

// meddle changes the store behind the server's back: the file while the server does not run, or Redis while it does.
func (w *world) meddle(t *testing.T, slug string, change func(stored)) {
	t.Helper()
	if w.Redis != nil {
		c := goredis.NewClient(&goredis.Options{Addr: w.Redis.Addr})
		defer func() { _ = c.Close() }()
		change(inRedis(t, c, slug))
		return
	}
	w.Stop()
	db, err := bbolt.Open(filepath.Join(w.Dir, "bursar.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		tenants := tx.Bucket([]byte("tenant"))
		return tenants.ForEachBucket(func(id []byte) error {
			b := tenants.Bucket(id)
			if _, first := b.Bucket([]byte("ev")).Cursor().First(); isOf(t, string(first), slug) {
				change(&fileStore{t, b})
			}
			return nil
		})
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.Restart(t)
}

// isOf reports whether an event is of a tenant's log.
func isOf(t *testing.T, event, slug string) bool {
	t.Helper()
	_, rest, _ := strings.Cut(event, ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(claims, []byte("/t/"+slug+"/log\""))
}

type fileStore struct {
	t *testing.T
	b *bbolt.Bucket
}

func (s *fileStore) entries() (all []string) {
	_ = s.b.Bucket([]byte("ev")).ForEach(func(_, v []byte) error { all = append(all, string(v)); return nil })
	return all
}

func (s *fileStore) putEntries(all []string) {
	b := s.b.Bucket([]byte("ev"))
	for i, entry := range all {
		if err := b.Put(binary.BigEndian.AppendUint64(nil, uint64(i)), []byte(entry)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *fileStore) logKeys() map[string]string {
	all := map[string]string{}
	_ = s.b.Bucket([]byte("row")).ForEach(func(k, v []byte) error {
		if isLogKey(string(k)) {
			all[string(k)] = string(v)
		}
		return nil
	})
	return all
}

func (s *fileStore) putLogKeys(all map[string]string) {
	b := s.b.Bucket([]byte("row"))
	for name := range s.logKeys() {
		if err := b.Delete([]byte(name)); err != nil {
			s.t.Fatal(err)
		}
	}
	for name, value := range all {
		if err := b.Put([]byte(name), []byte(value)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func isLogKey(name string) bool { return name == "dek/log" || strings.HasPrefix(name, "logkey/") }

type redisStore struct {
	t      *testing.T
	c      *goredis.Client
	prefix string
}

func inRedis(t *testing.T, c *goredis.Client, slug string) *redisStore {
	t.Helper()
	streams, err := c.Keys(t.Context(), "*:aud:ev").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range streams {
		s := &redisStore{t, c, strings.TrimSuffix(stream, "aud:ev")}
		if isOf(t, s.entries()[0], slug) {
			return s
		}
	}
	t.Fatalf("there is no log of %s", slug)
	return nil
}

func (s *redisStore) entries() (all []string) {
	messages, err := s.c.XRange(s.t.Context(), s.prefix+"aud:ev", "-", "+").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range messages {
		all = append(all, m.Values["s"].(string))
	}
	return all
}

func (s *redisStore) putEntries(all []string) {
	_, err := s.c.TxPipelined(s.t.Context(), func(p goredis.Pipeliner) error {
		p.Del(s.t.Context(), s.prefix+"aud:ev")
		for i, entry := range all {
			p.XAdd(s.t.Context(), &goredis.XAddArgs{Stream: s.prefix + "aud:ev", ID: fmt.Sprintf("%d-0", i+1),
				Values: []any{"s", entry}})
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisStore) logKeys() map[string]string {
	all := map[string]string{}
	for _, kind := range []string{"dek", "logkey"} {
		rows, err := s.c.HGetAll(s.t.Context(), s.prefix+"row:"+kind).Result()
		if err != nil {
			s.t.Fatal(err)
		}
		for id, value := range rows {
			all[kind+"/"+id] = value
		}
	}
	maps.DeleteFunc(all, func(name, _ string) bool { return !isLogKey(name) })
	return all
}

func (s *redisStore) putLogKeys(all map[string]string) {
	_, err := s.c.TxPipelined(s.t.Context(), func(p goredis.Pipeliner) error {
		for name := range s.logKeys() {
			kind, id, _ := strings.Cut(name, "/")
			p.HDel(s.t.Context(), s.prefix+"row:"+kind, id)
		}
		for name, value := range all {
			kind, id, _ := strings.Cut(name, "/")
			p.HSet(s.t.Context(), s.prefix+"row:"+kind, id, value)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
