package limit_test

import (
	"testing"

	"github.com/bursar-sts/bursar/server/limit"
	"github.com/bursar-sts/bursar/storage"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// asStore keeps the embedded store in the shape that every store has.
func asStore(s storage.Store) storage.Store { return s }

// eachStore runs a test on each store, with real time.
func eachStore(t *testing.T, run func(t *testing.T, store limit.Store)) {
	t.Run("embedded", func(t *testing.T) { run(t, embedded(t, newClock())) })
	t.Run("redis", func(t *testing.T) {
		db, err := storage.Open(t.Context(), storage.Config{URL: storagetest.Redis(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		run(t, db)
	})
}
