package current_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bursar-sts/bursar/server/current"
)

// Whoever asks while a read is under way gets the next one: its answer is not older than the question.
func TestNobodyGetsAnAnswerThatIsOlderThanTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j current.Joint[int]
		var running, asking sync.WaitGroup
		reads, begun := 0, make(chan struct{})
		read := func(context.Context) (int, error) {
			reads++
			n := reads
			if n == 1 {
				close(begun)
			}
			time.Sleep(500 * time.Millisecond)
			return n, nil
		}
		ask := func(want int) {
			if got, err := j.Do(t.Context(), &running, read); err != nil || got != want {
				t.Errorf("got read %d, %v, want %d", got, err, want)
			}
		}
		asking.Go(func() { ask(1) })
		<-begun
		for range 5 {
			asking.Go(func() { ask(2) })
		}
		asking.Wait()
		running.Wait()
		if reads != 2 {
			t.Errorf("%d reads", reads)
		}
	})
}

func TestASharedReadThatFailsIsEverybodysFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j current.Joint[int]
		var running sync.WaitGroup
		broken := errors.New("broken")
		if _, err := j.Do(t.Context(), &running, func(context.Context) (int, error) { return 0, broken }); err != broken {
			t.Error(err)
		}
		_, err := j.Do(t.Context(), &running, func(context.Context) (int, error) { panic("secret of the panic") })
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("a panic: %v", err)
		}
		began := time.Now()
		_, err = j.Do(t.Context(), &running, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("a store that hangs: %v after %s", err, time.Since(began))
		}
		running.Wait()
	})
}

func TestTheStoresTimeIsEstimatedFromBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := current.NewClock(time.Now)
		if got := c.Now(); !got.Equal(began) {
			t.Errorf("before the first answer it is %s", got)
		}
		c.Observe(time.Time{}) // an answer without a time
		store := func() time.Time { return time.Now().Add(time.Hour) }
		slow := store()
		time.Sleep(time.Second) // that the answer took
		c.Observe(slow)
		if got := store().Sub(c.Now()); got != time.Second {
			t.Errorf("it is %s behind the store", got)
		}
		c.Observe(store())
		time.Sleep(10 * time.Second)
		c.Observe(slow)
		if got := store().Sub(c.Now()); got != 0 {
			t.Errorf("after a better answer it is %s behind the store", got)
		}
		c.Correct(time.Now().Add(-time.Hour))
		if got := time.Since(c.Now()); got != time.Hour {
			t.Errorf("after the store's clock was set back, it is %s behind ours", got)
		}
	})
}
