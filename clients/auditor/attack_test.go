package auditor_test

import (
	"testing"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// options hold a log against its key, and against the checkpoints that it had at some sizes.
func (w *world) options(sizes ...int) auditor.Options {
	o := auditor.Options{Keys: []string{w.vkey()}, Issuer: w.issuer}
	for _, size := range sizes {
		o.Old = append(o.Old, w.checkpoint(w.entries[:size]))
	}
	return o
}

func TestAnUntouchedLogVerifies(t *testing.T) {
	for _, size := range []int{0, 1, 2, 255, 256, 257, 511, 1000, 1024} {
		w := newWorld(t, "acme").grow(size)
		r := w.export().verify(w.options(0, size/3, size))
		if !r.Passed() || r.Integrity != auditor.OK || r.Completeness != auditor.OK || r.Entries != int64(size) ||
			r.Size != int64(size) || len(r.Findings) != 0 || len(r.NotChecked) != 0 {
			t.Errorf("%d entries: %+v", size, r)
		}
		if size == 1000 && (r.Writers != 2 || r.FirstTime != start+1 || r.LastTime != start+1000) {
			t.Errorf("%+v", r)
		}
	}
}

// How much of an export somebody without a key has changed, to hide what was done to the entries.
const (
	bundlesOnly = iota // the tiles are those of the log
	leaves             // the tiles of level 0 were made to fit
	allTiles           // all were
)

// changed returns an export with other entries under the checkpoint of the log.
func (w *world) changed(entries [][]byte, how int) *export {
	x := w.export()
	if how == bundlesOnly {
		return x.rewrite(entries)
	}
	fitting := w.exportOf(entries)
	fitting.put("checkpoint", x.files["checkpoint"])
	if how == leaves {
		for _, name := range fitting.names {
			if level, _, _, err := auditor.ParseTilePath(name); err == nil && level > 0 {
				fitting.put(name, x.files[name])
			}
		}
	}
	return fitting
}

// The first column of the attack table: whoever verifies has the key alone. The attacker has none.
func TestAttacksWithoutAKey(t *testing.T) {
	w := newWorld(t, "acme").grow(1000)
	e, thief := w.entries, key("thief")
	other := newWorld(t, "other").grow(3).entries[1]
	forged := sign(t, thief, thumbprint(thief), newWorld(t, "acme").claims("one", "token.exchange", nil))
	const (
		edited, deleted, inserted, reordered = auditor.Edited, auditor.Deleted, auditor.Inserted, auditor.Reordered
		truncated, forgery, foreign          = auditor.Truncated, auditor.Forged, auditor.WrongTenant
		replayed, malformed                  = auditor.Replayed, auditor.Malformed
	)
	for _, row := range []struct {
		name    string
		how     int
		entries [][]byte
		want    []told
	}{
		{"edit", bundlesOnly, replaced(e, 300, flipped(t, e[300])), []told{
			{auditor.ForgedEvent, edited, 300, 0}, {auditor.RootMismatch, edited, 300, 0}}},
		{"edit", leaves, replaced(e, 300, flipped(t, e[300])), []told{
			{auditor.ForgedEvent, edited, 300, 0}, {auditor.RootMismatch, edited, 300, 0}}},
		{"edit", allTiles, replaced(e, 300, flipped(t, e[300])), []told{
			{auditor.ForgedEvent, edited, 300, 0}, {auditor.RootMismatch, edited, 300, 0}}},
		{"edit whose it is", bundlesOnly, replaced(e, 300, amended(t, e[300], "t/acme", "t/acmf")), []told{
			{auditor.ForeignEvent, edited, 300, 0}, {auditor.RootMismatch, auditor.Edited, 300, 0}}},
		{"edit whose it is", allTiles, replaced(e, 300, amended(t, e[300], "t/acme", "t/acmf")), []told{
			{auditor.ForeignEvent, edited, 300, 0}, {auditor.RootMismatch, auditor.Edited, 300, 0}}},
		{"edit the last one", bundlesOnly, replaced(e, 999, flipped(t, e[999])), []told{
			{auditor.ForgedEvent, edited, 999, 0}, {auditor.RootMismatch, edited, 999, 0}}},
		{"make unreadable", bundlesOnly, replaced(e, 300, []byte("rubbish")), []told{
			{auditor.BadEvent, edited, 300, 0}, {auditor.RootMismatch, edited, 300, 0}}},
		{"make unreadable", allTiles, replaced(e, 300, []byte("rubbish")), []told{
			{auditor.BadEvent, malformed, 300, 0}, {auditor.RootMismatch, malformed, 300, 0}}},

		{"delete", bundlesOnly, without(e, 300), []told{
			{auditor.MissingEvent, deleted, 300, 0}, {auditor.MissingEntries, deleted, 300, 0}}},
		{"delete", leaves, without(e, 300), []told{ // between 299 and 300, as they are now
			{auditor.MissingEvent, deleted, 299, 300}, {auditor.MissingEntries, deleted, 299, 0}}},
		{"delete the first", bundlesOnly, without(e, 0), []told{
			{auditor.MissingEvent, deleted, 0, 0}, {auditor.MissingEntries, deleted, 0, 0}}},
		{"delete two", bundlesOnly, without(without(e, 700), 300), []told{
			{auditor.MissingEvent, deleted, 300, 0}, {auditor.MissingEntries, deleted, 300, 0},
			{auditor.MissingEvent, deleted, 700, 0}, {auditor.MissingEntries, deleted, 700, 0}}},
		{"delete one that no writer goes on after", bundlesOnly, without(e, 998), []told{
			{auditor.MissingEntries, deleted, 998, 0}}},

		{"swap two of a writer", bundlesOnly, swapped(e, 300, 301), []told{
			{auditor.MissingEvent, reordered, 300, 301}, {auditor.RootMismatch, reordered, 300, 301}}},
		{"swap two of a writer", allTiles, swapped(e, 300, 301), []told{
			{auditor.MissingEvent, reordered, 300, 301}, {auditor.RootMismatch, reordered, 300, 0}}},
		{"swap two of different writers", bundlesOnly, swapped(e, 301, 302), []told{
			{auditor.RootMismatch, reordered, 301, 302}}},
		{"swap two of different writers", leaves, swapped(e, 301, 302), []told{ // somewhere in one tile
			{auditor.RootMismatch, edited, 256, 511}}},
		{"swap two of different writers", allTiles, swapped(e, 301, 302), []told{ // which is all that can be known
			{auditor.RootMismatch, edited, -1, 0}}},
		{"swap two far apart", bundlesOnly, swapped(e, 10, 900), []told{
			{auditor.MissingEvent, reordered, 10, 900}, {auditor.RootMismatch, reordered, 10, 900}}},
		{"swap the last two", bundlesOnly, swapped(e, 998, 999), []told{
			{auditor.RootMismatch, reordered, 998, 999}}},
		{"move", bundlesOnly, with(without(e, 300), 400, e[300]), []told{
			{auditor.MissingEvent, reordered, 300, 400}, {auditor.RootMismatch, reordered, 300, 400}}},

		{"insert a replayed one", bundlesOnly, with(e, 300, e[100]), []told{
			{auditor.ReplayedEvent, replayed, 300, 0}, {auditor.RootMismatch, inserted, 300, 0}}},
		{"insert a replayed one", allTiles, with(e, 300, e[100]), []told{
			{auditor.ReplayedEvent, replayed, 300, 0}, {auditor.RootMismatch, inserted, 300, 0}}},
		{"insert a forged one", bundlesOnly, with(e, 300, forged), []told{
			{auditor.ForgedEvent, forgery, 300, 0}, {auditor.RootMismatch, inserted, 300, 0}}},
		{"put a forged one in its place", allTiles, replaced(e, 300, forged), []told{
			{auditor.ForgedEvent, forgery, 300, 0}, {auditor.RootMismatch, forgery, 300, 0}}},
		{"insert one of another tenant", bundlesOnly, with(e, 300, other), []told{
			{auditor.ForeignEvent, foreign, 300, 0}, {auditor.RootMismatch, inserted, 300, 0}}},
		{"insert one of another tenant", allTiles, with(e, 300, other), []told{
			{auditor.ForeignEvent, foreign, 300, 0}, {auditor.RootMismatch, inserted, 300, 0}}},

		{"truncate", bundlesOnly, e[:900], []told{{auditor.MissingEntries, truncated, 900, 999}}},
		{"truncate", leaves, e[:900], []told{{auditor.MissingEntries, truncated, 900, 999}}},
		{"truncate at a bundle", bundlesOnly, e[:512], []told{{auditor.MissingEntries, truncated, 512, 999}}},
		{"truncate all", bundlesOnly, nil, []told{{auditor.MissingEntries, truncated, 0, 999}}},
		{"truncate all", allTiles, nil, []told{{auditor.MissingEntries, truncated, 0, 999}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := w.changed(row.entries, row.how).verify(w.options())
			expect(t, r, row.want...)
			if r.Passed() || r.Integrity == auditor.OK {
				t.Errorf("it passed: integrity %s, completeness %s", r.Integrity, r.Completeness)
			}
		})
	}
}

// What is wrong before the sequencer signs is in the tree, as it is.
func TestAttacksBeforeSequencing(t *testing.T) {
	thief := key("thief")
	for _, row := range []struct {
		name string
		do   func(w *world) // at entry 300
		want []told
	}{
		{"an event by another key", func(w *world) {
			w.entries = append(w.entries, sign(t, thief, thumbprint(thief), w.claims("three", "token.exchange", nil)))
		}, []told{{auditor.ForgedEvent, auditor.Forged, 300, 0}}},
		{"an event by another key under the name of ours", func(w *world) {
			w.entries = append(w.entries, sign(t, thief, thumbprint(w.signing), w.claims("three", "token.exchange", nil)))
		}, []told{{auditor.ForgedEvent, auditor.Forged, 300, 0}}},
		{"an event by another key that has the number of one of ours", func(w *world) {
			c := w.claims("one", "token.exchange", nil)
			w.entries = append(w.entries, sign(t, thief, thumbprint(w.signing), c), w.sign(c))
		}, []told{{auditor.ForgedEvent, auditor.Forged, 300, 0}}},
		{"a genuine event, replayed", func(w *world) {
			w.entries = append(w.entries, w.entries[100])
		}, []told{{auditor.ReplayedEvent, auditor.Replayed, 300, 0}}},
		{"one writer's events reordered", func(w *world) {
			first, second := w.sign(w.claims("one", "token.exchange", nil)), w.sign(w.claims("one", "token.exchange", nil))
			w.entries = append(w.entries, second, first)
		}, []told{{auditor.MissingEvent, auditor.Reordered, 300, 301}}},
		{"one event lost", func(w *world) {
			w.claims("one", "token.exchange", nil)
			w.event("one", "token.exchange", nil)
		}, []told{{auditor.MissingEvent, auditor.Deleted, 299, 300}}},
		{"another tenant's event", func(w *world) {
			w.entries = append(w.entries, newWorld(t, "other").grow(3).entries[1])
		}, []told{{auditor.ForeignEvent, auditor.WrongTenant, 300, 0}}},
		{"another tenant's name under our key", func(w *world) {
			c := w.claims("three", "token.exchange", nil)
			c["iss"], c["aud"] = "https://sts.example/t/other", "https://sts.example/t/other/log"
			w.entries = append(w.entries, w.sign(c))
		}, []told{{auditor.ForeignEvent, auditor.WrongTenant, 300, 0}}},
		{"an issuer whose log it is not", func(w *world) {
			c := w.claims("three", "token.exchange", nil)
			c["iss"] = "https://sts.example/t/other"
			w.entries = append(w.entries, w.sign(c))
		}, []told{{auditor.ForeignEvent, auditor.WrongTenant, 300, 0}}},
		{"an audience that is not the log", func(w *world) {
			c := w.claims("three", "token.exchange", nil)
			c["aud"] = w.issuer
			w.entries = append(w.entries, w.sign(c))
		}, []told{{auditor.ForeignEvent, auditor.WrongTenant, 300, 0}}},
		{"a raw token", func(w *world) {
			w.event("one", "token.exchange", claims{"outcome": "denied", "agent": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0"})
		}, []told{{auditor.SecretInLog, auditor.Secret, 300, 0}}},
		{"no event", func(w *world) {
			w.entries = append(w.entries, []byte("rubbish"))
		}, []told{{auditor.BadEvent, auditor.Malformed, 300, 0}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, "acme").grow(300)
			row.do(w)
			w.grow(600)
			r := w.export().verify(w.options())
			expect(t, r, row.want...)
			if r.Passed() || r.FirstError() == nil {
				t.Error("it passed")
			}
		})
	}
}

// What was forged before it came into the log is told from what was changed after.
func TestForgedBeforeAndEditedAfter(t *testing.T) {
	w := newWorld(t, "acme").grow(300)
	w.entries = append(w.entries, sign(t, key("thief"), thumbprint(w.signing), w.claims("three", "token.exchange", nil)))
	w.grow(600)
	r := w.changed(replaced(w.entries, 500, flipped(t, w.entries[500])), bundlesOnly).verify(w.options())
	expect(t, r, told{auditor.ForgedEvent, auditor.Forged, 300, 0}, told{auditor.ForgedEvent, auditor.Edited, 500, 0},
		told{auditor.RootMismatch, auditor.Edited, 500, 0})
}

func TestAClockThatGoesBackIsAWarning(t *testing.T) {
	w := newWorld(t, "acme").grow(300)
	w.now -= 3600
	w.grow(400)
	r := w.export().verify(w.options(100))
	expect(t, r, told{auditor.ClockBack, auditor.Clock, 300, 0}, told{auditor.ClockBack, auditor.Clock, 302, 0})
	if !r.Passed() || r.Integrity != auditor.OK || r.Completeness != auditor.OK {
		t.Errorf("%s %s", r.Integrity, r.Completeness)
	}
}

// The rows that only an older checkpoint shows: without it, everything is as it should be.
func TestAttacksByWhoeverHasTheKeys(t *testing.T) {
	w := newWorld(t, "acme").grow(1000)
	forked := newWorld(t, "acme").grow(999)
	forked.event("one", "token.exchange", claims{"outcome": "allowed"})
	rewritten := newWorld(t, "acme").grow(300)
	rewritten.event("one", "token.exchange", claims{"outcome": "allowed"})
	rewritten.grow(1200)
	dropped := newWorld(t, "acme")
	dropped.entries = without(w.entries, 300)
	for _, row := range []struct {
		name    string
		log     *world
		old     []int
		alone   []told // with the key alone
		with    []told // with older checkpoints as well
		passes  bool   // with the key alone
		partial auditor.Verdict
	}{
		{"rolled back to a genuine older state", &world{t: t, issuer: w.issuer, epoch: 1, signer: w.signer, keys: w.keys,
			entries: w.entries[:600]}, []int{300, 900}, nil,
			[]told{{auditor.Rollback, auditor.RolledBack, 600, 899}}, true, auditor.Partly},
		{"forked", forked, []int{300, 1000}, nil, []told{{auditor.Fork, auditor.Forked, -1, 0}}, true, auditor.Partly},
		{"rewritten from 300 on", rewritten, []int{200, 900}, nil,
			[]told{{auditor.Rewritten, auditor.Forked, 200, 899}}, true, auditor.Partly},
		{"one dropped, and signed again", dropped, []int{900},
			[]told{{auditor.MissingEvent, auditor.Deleted, 299, 300}}, []told{
				{auditor.MissingEvent, auditor.Deleted, 299, 300},
				{auditor.Rewritten, auditor.Forked, 0, 899}}, false, auditor.Failed},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := row.log.export().verify(w.options())
			expect(t, r, row.alone...)
			if r.Passed() != row.passes || r.Completeness != row.partial || r.Integrity != auditor.OK {
				t.Errorf("with the key alone: integrity %s, completeness %s", r.Integrity, r.Completeness)
			}
			if len(r.NotChecked) == 0 {
				t.Error("it does not say what could not be checked")
			}
			r = row.log.export().verify(w.options(row.old...))
			expect(t, r, row.with...)
			if r.Passed() || len(r.NotChecked) != 0 {
				t.Errorf("passed %v, not checked: %v", r.Passed(), r.NotChecked)
			}
			for _, f := range r.Findings {
				if f.Kind == auditor.Forked && len(f.Evidence) != 2 {
					t.Error("there is no evidence of the fork")
				}
			}
		})
	}
}
