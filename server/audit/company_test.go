package audit_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// An event that nobody waits for shares the commit of the next one that somebody waits for, and is written without one
// a moment later, or when the log is closed.
func TestWhatNobodyWaitsForIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		l := newLog(t, s)
		commits := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.commits
		}
		post := func(id string) {
			t.Helper()
			if err := l.Post(origin, event(id)); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		want := func(when string, count int, last ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, r := range history(t, l) {
				got = append(got, r.String())
			}
			if commits() != count || !slices.Equal(got[max(len(got)-len(last), 0):], last) {
				t.Errorf("%s: %d commits of %v, want %d that end with %v", when, commits(), got, count, last)
			}
		}
		if err := appendOnly(l, origin, event("intent-1")); err != nil {
			t.Fatal(err)
		}
		before := commits()
		post("outcome-1")
		want("at once", before, "intent-1")
		if err := appendOnly(l, origin, event("intent-2")); err != nil {
			t.Fatal(err)
		}
		want("with the next one", before+1, "intent-1", "outcome-1", "intent-2")
		post("outcome-2")
		post("outcome-3")
		time.Sleep(10 * time.Millisecond)
		want("after a moment", before+2, "intent-2", "outcome-2", "outcome-3")
		post("outcome-4")
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want("when the log is closed, whose end is a commit of its own", before+4, "outcome-3", "outcome-4", "writer.stop")
	})
}
