package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/storage"
)

func cutOf(id string, keep time.Duration, disable bool) ledger.Change {
	return ledger.Change{Cut: []ledger.Cut{{Key: ledger.Key{Kind: "client", ID: id}, Keep: keep, Disable: disable}}}
}

func enableOf(ids ...string) (c ledger.Change) {
	for _, id := range ids {
		c.Enable = append(c.Enable, ledger.Key{Kind: "client", ID: id})
	}
	return c
}

// sequence lists cutoffs as number and id.
func sequence(cutoffs []ledger.Cutoff) []string {
	texts := []string{}
	for _, c := range cutoffs {
		texts = append(texts, fmt.Sprintf("%d %s", c.Seq, c.ID))
	}
	return texts
}

func testCutoffSequence(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	for _, id := range []string{"a", "b", "c:d/e", "", "a"} {
		w.do(cutOf(id, time.Hour, false))
	}
	all := []string{"2 b", "3 c:d/e", "4 ", "5 a"} // the second cut of a replaced number 1
	for after, want := range [][]string{all, all, all[1:], all[2:], all[3:], {}, {}} {
		cutoffs, p := w.cutoffs(int64(after))
		equal(t, sequence(cutoffs), want)
		equal(t, p.Cutoffs, int64(5))
	}
	cutoffs, _ := w.cutoffs(-3)
	equal(t, len(cutoffs), 4)
	equal(t, cutoffs[1].Key, ledger.Key{Kind: "client", ID: "c:d/e"})
}

func testCutoffForward(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	first := w.do(cutOf("a", time.Hour, true))
	w.until(first.Time)
	second := w.do(cutOf("a", time.Minute, false))
	cutoffs, _ := w.cutoffs(0)
	equal(t, cutoffs, []ledger.Cutoff{{
		Key: ledger.Key{Kind: "client", ID: "a"}, Seq: 2, At: second.Time, Until: first.Time.Add(time.Hour), Disabled: true,
	}})
	third := w.do(cutOf("a", 2*time.Hour, false))
	cutoffs, _ = w.cutoffs(0)
	equal(t, cutoffs[0].Until, third.Time.Add(2*time.Hour))
}

func testEnable(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	at := w.do(cutOf("a", time.Hour, true)).Time
	w.until(at)
	w.do(enableOf("a", "never cut"))
	cutoffs, p := w.cutoffs(1)
	equal(t, sequence(cutoffs), []string{"2 a"})
	equal(t, p.Cutoffs, int64(2))
	equal(t, cutoffs[0].At, at)
	equal(t, cutoffs[0].Disabled, false)
	if cutoffs[0].Until.Before(at.Add(time.Hour)) {
		t.Fatal("enabling shortened the cutoff")
	}
	w.do(enableOf("a"))
	equal(t, w.position().Cutoffs, int64(2))
	w.do(ledger.Change{Cut: cutOf("a", time.Hour, true).Cut, Enable: enableOf("a").Enable})
	cutoffs, _ = w.cutoffs(2)
	equal(t, sequence(cutoffs), []string{"4 a"})
	equal(t, cutoffs[0].Disabled, false)
}

func testCutoffExpiry(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	for i := range 40 {
		w.do(cutOf(fmt.Sprintf("short %d", i), 0, false))
	}
	w.do(cutOf("disabled", 0, false))
	w.do(cutOf("disabled", 0, true))
	w.do(cutOf("long", time.Hour, false))
	w.until(w.do(cutOf("never swept", 0, false)).Time)
	cutoffs, p := w.cutoffs(0)
	equal(t, sequence(cutoffs), []string{"42 disabled", "43 long"})
	equal(t, p.Cutoffs, int64(44))
	for range 5 { // each sweeps some of the old ones
		w.do(cutOf("long", time.Hour, false))
	}
	cutoffs, _ = w.cutoffs(0)
	equal(t, sequence(cutoffs), []string{"42 disabled", "49 long"})
	w.do(cutOf("short 0", time.Hour, false)) // swept, and cut again
	cutoffs, _ = w.cutoffs(49)
	equal(t, sequence(cutoffs), []string{"50 short 0"})
}

func testEnableOld(t *testing.T, s storage.Store) {
	w := newWriter(t, s)
	w.until(w.do(cutOf("a", 0, true)).Time)
	enabled := w.do(enableOf("a"))
	w.until(enabled.Time)
	w.do(cutOf("another", 0, false))
	cutoffs, _ := w.cutoffs(1)
	if len(cutoffs) == 0 || cutoffs[0].ID != "a" || cutoffs[0].Disabled {
		t.Fatalf("got %+v", cutoffs)
	}
}
