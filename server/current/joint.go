package current

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Joint lets concurrent callers share a read without any of them getting an answer that is older than its call: a
// caller joins the next read, never the one under way. A caller that has waited for 1.5 s gives up with
// context.DeadlineExceeded. The zero Joint is ready for use.
type Joint[T any] struct {
	mu      sync.Mutex
	running bool
	next    *flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// readTimeout bounds a shared read, which no single caller's context may end, and how long a caller waits for one.
const readTimeout = 1500 * time.Millisecond

// Do reads, or waits for a read that begins after Do was called. running counts the reads' goroutine.
func (j *Joint[T]) Do(ctx context.Context, running *sync.WaitGroup, read func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	j.mu.Lock()
	if j.next == nil {
		j.next = &flight[T]{done: make(chan struct{})}
	}
	f := j.next
	if !j.running {
		j.running = true
		running.Go(func() { j.run(context.WithoutCancel(ctx), read) })
	}
	j.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

func (j *Joint[T]) run(ctx context.Context, read func(context.Context) (T, error)) {
	for {
		j.mu.Lock()
		f := j.next
		j.next = nil
		if f == nil {
			j.running = false
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		f.run(ctx, read)
	}
}

// run reads. A panic is the error of those who wait: on this goroutine it would end the process, for every tenant.
func (f *flight[T]) run(ctx context.Context, read func(context.Context) (T, error)) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	defer close(f.done)
	defer func() {
		if recover() != nil { // its value can be anything; its place is enough to find it
			f.err = fmt.Errorf("shared read panicked: %s", debug.Stack())
		}
	}()
	f.value, f.err = read(ctx)
}
