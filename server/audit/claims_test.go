package audit_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

func claims(keys ...string) (all []ledger.Claim) {
	for _, key := range keys {
		all = append(all, ledger.Claim{Key: key, Until: time.Now().Add(time.Hour)})
	}
	return all
}

// lost returns which claims an answer says that somebody else has.
func lost(t *testing.T, err error) []int {
	t.Helper()
	taken, ok := errors.AsType[*ledger.Taken](err)
	if !ok {
		if err != nil {
			t.Error(err)
		}
		return nil
	}
	return taken.Claims
}

// TestAClaimThatSomebodyHasFailsAlone lets a crowd wait behind a commit, so that it is one batch.
func TestAClaimThatSomebodyHasFailsAlone(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		if fresh, err := s.Claim(t.Context(), origin.Tenant, "had", time.Now().Add(time.Hour)); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
		s.breaks(times(3, notApplied))
		var wg sync.WaitGroup
		for _, call := range []struct {
			id   string
			keys []string
			want []int
		}{
			{"first", nil, nil},
			{"plain", nil, nil},
			{"loses", []string{"b", "had"}, []int{1}},
			{"a", []string{"a"}, nil},
			{"b", []string{"b"}, nil}, // the one before that claimed b did not get it
			{"again", []string{"a", "c"}, []int{0}},
			{"c", []string{"c", "d"}, nil},
			{"last", []string{"had"}, []int{0}},
		} {
			wg.Go(func() {
				_, err := l.Append(t.Context(), origin, event(call.id), claims(call.keys...)...)
				if got := lost(t, err); !reflect.DeepEqual(got, call.want) {
					t.Errorf("%s lost %v, want %v", call.id, got, call.want)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		wantHistory(t, l, "writer.start", "before", "first", "plain", "a", "b", "c")
	})
}

func TestOfACrowdThatClaimsTheSameOneIsRecorded(t *testing.T) {
	s := newStore(t)
	logs := []*audit.Log{newLog(t, s), newLog(t, s), newLog(t, s)}
	won, refused := 0, 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			_, err := logs[i%3].Append(t.Context(), origin, event(fmt.Sprint(i)), claims("same", fmt.Sprint(i))...)
			mu.Lock()
			defer mu.Unlock()
			if lost := lost(t, err); lost == nil {
				won++
			} else {
				refused++
			}
		})
	}
	wg.Wait()
	if won != 1 || refused != 299 {
		t.Errorf("%d were recorded, %d refused", won, refused)
	}
	if all := history(t, logs[0]); len(all) != 2 {
		t.Errorf("the log has %v", all)
	}
}

// An answer that was lost does not make a caller lose to itself.
func TestAClaimWhoseAnswerWasLostIsOurs(t *testing.T) {
	outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
		s.breaks(times(3, applied))
		if _, err := l.Append(t.Context(), origin, event("a"), claims("a")...); err != nil {
			t.Error(err)
		}
		if _, err := l.Append(t.Context(), origin, event("b"), claims("a")...); len(lost(t, err)) != 1 {
			t.Errorf("the second claim: %v", err)
		}
		wantHistory(t, l, "writer.start", "before", "a")
	})
}

// A caller who was told of a failure has no claim unless it is recorded, and the follow-up claims nothing.
func TestClaimsOfThoseWhoGaveUp(t *testing.T) {
	for name, m := range map[string]mishap{"before the commit": notApplied, "after the commit": applied} {
		t.Run(name, func(t *testing.T) {
			outage(t, func(t *testing.T, s *faulty, l *audit.Log) {
				s.breaks(always(m))
				var wg sync.WaitGroup
				call := func(id string, patience time.Duration) {
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						_, err := l.Append(ctx, origin, event(id), claims(id)...)
						wantUnavailable(t, err)
					})
					synctest.Wait()
				}
				call("sent", 100*time.Millisecond)
				call("dropped", 50*time.Millisecond)
				wg.Wait()
				s.breaks(nil)
				time.Sleep(time.Second)
				_, err := l.Append(t.Context(), origin, event("c"), claims("sent", "dropped")...)
				if got := lost(t, err); !reflect.DeepEqual(got, []int{0}) {
					t.Errorf("lost %v, want that of what was recorded", got)
				}
				wantHistory(t, l, "writer.start", "before", "sent", "sent not_released")
			})
		})
	}
}

func TestAnEventHasFewClaims(t *testing.T) {
	l := newLog(t, newStore(t))
	few := claims("a", "b", "c", "d")
	_, err := l.Append(t.Context(), origin, event("many"), append(few, few...)...)
	if fault.As(err).Kind != fault.Internal {
		t.Errorf("got %v", err)
	}
	if _, err := l.Append(t.Context(), origin, event("few"), few...); err != nil {
		t.Error(err)
	}
	wantHistory(t, l, "writer.start", "few")
}
