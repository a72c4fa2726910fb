package e2e_test

import (
	"strings"
	"testing"
)

// rowStore is the rows that a store has of a tenant, by kind/id.
type rowStore interface {
	row(name string) string
	setRow(name, value string)
	count(prefix string) int // of the rows whose names begin so
}

func (s *fileStore) row(name string) string {
	return string(s.b.Bucket([]byte("row")).Get([]byte(name)))
}

func (s *fileStore) setRow(name, value string) {
	if err := s.b.Bucket([]byte("row")).Put([]byte(name), []byte(value)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *fileStore) count(prefix string) (n int) {
	_ = s.b.Bucket([]byte("row")).ForEach(func(k, _ []byte) error {
		if strings.HasPrefix(string(k), prefix) {
			n++
		}
		return nil
	})
	return n
}

func (s *redisStore) count(prefix string) (n int) {
	kind, id, _ := strings.Cut(prefix, "/")
	all, err := s.c.HKeys(s.t.Context(), s.prefix+"row:"+kind).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasPrefix(name, id) {
			n++
		}
	}
	return n
}

func (s *redisStore) row(name string) string {
	kind, id, _ := strings.Cut(name, "/")
	value, err := s.c.HGet(s.t.Context(), s.prefix+"row:"+kind, id).Result()
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return value
}

func (s *redisStore) setRow(name, value string) {
	kind, id, _ := strings.Cut(name, "/")
	if err := s.c.HSet(s.t.Context(), s.prefix+"row:"+kind, id, value).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// inStore changes the rows of a tenant behind the server's back, and serves again: a server that runs knows the rows.
func (w *shimWorld) inStore(t *testing.T, slug string, change func(s rowStore)) {
	t.Helper()
	seen := &world{Server: w.Server}
	seen.meddle(t, slug, func(s stored) { change(s.(rowStore)) })
	if w.Redis != nil {
		w.restart(t)
	}
}

// swappedRows puts sealed rows where they do not belong: what was sealed for one place opens in no other.
func (w *shimWorld) swappedRows(t *testing.T) {
	rows := map[string]map[string]string{}
	names, sealer := []string{"secret/legacy-key", "secret/login", "secret/turned"}, "dek/vault"
	if w.outpost != nil { // which has the data key from a row of its own
		sealer = "shimkey/" + w.outpost.ID
	}
	names = append(names, sealer)
	w.put(t, "acme/turned", acmeKey, "header")
	w.put(t, "globex/login", "username=robot password="+password)
	w.put(t, "globex/turned", globexKey, "header")
	for _, slug := range []string{"acme", "globex"} {
		rows[slug] = map[string]string{}
		w.inStore(t, slug, func(s rowStore) {
			for _, name := range names {
				if rows[slug][name] = s.row(name); rows[slug][name] == "" {
					t.Fatalf("%s has no row %s", slug, name)
				}
			}
		})
	}
	w.put(t, "acme/turned", nextKey, "header") // a second version of one
	for name, swap := range map[string]map[string]string{
		"the row of another tenant": {"secret/legacy-key": rows["globex"]["secret/legacy-key"]},
		"the row of another secret": {"secret/legacy-key": rows["acme"]["secret/turned"]},
		"the data key of another":   {sealer: rows["globex"][sealer]},
		"both of another": {sealer: rows["globex"][sealer],
			"secret/legacy-key": rows["globex"]["secret/legacy-key"]},
		"one byte changed at the end": {"secret/legacy-key": flippedText(rows["acme"]["secret/legacy-key"], -10)},
		"one byte changed amid": {"secret/legacy-key": flippedText(rows["acme"]["secret/legacy-key"],
			len(rows["acme"]["secret/legacy-key"])/2)},
		"half of another's": {"secret/legacy-key": spliced(rows["acme"]["secret/legacy-key"],
			rows["globex"]["secret/legacy-key"])},
		"the fields of another's": {"secret/legacy-key": rows["globex"]["secret/login"]},
	} {
		before := map[string]string{}
		w.inStore(t, "acme", func(s rowStore) {
			for row, value := range swap {
				before[row] = s.row(row)
				s.setRow(row, value)
			}
		})
		w.silent(t, name, func() {
			if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status < 500 {
				t.Errorf("%s: %d %s", name, reply.Status, reply.Body)
			}
		})
		w.inStore(t, "acme", func(s rowStore) {
			for row, value := range before {
				s.setRow(row, value)
			}
		})
	}
	if reply := w.get(t, "legacy", "/v1/items/1"); reply.Status != 200 {
		t.Errorf("put back: %d %s", reply.Status, reply.Body)
	}
	if w.up.Received(globexKey) {
		t.Error("the key of globex was sent for acme")
	}
}

func flippedText(s string, at int) string {
	b := []byte(s)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return string(b)
}

func spliced(a, b string) string { return a[:len(a)/2] + b[min(len(b), len(a)/2):] }
