package tenant

import (
	"context"
	"sync"
	"time"
)

// joint lets concurrent callers share a read without any of them getting an answer that is older than its call: a caller
// joins the next read, never the one under way.
type joint[T any] struct {
	mu      sync.Mutex
	running bool
	next    *flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// readTimeout bounds a shared read, which no single caller's context may end.
const readTimeout = 1500 * time.Millisecond

func (j *joint[T]) do(ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	j.mu.Lock()
	if j.next == nil {
		j.next = &flight[T]{done: make(chan struct{})}
	}
	f := j.next
	if !j.running {
		j.running = true
		go j.run(context.WithoutCancel(ctx), read)
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

func (j *joint[T]) run(ctx context.Context, read func(context.Context) (T, error)) {
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
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		f.value, f.err = read(ctx)
		cancel()
		close(f.done)
	}
}
