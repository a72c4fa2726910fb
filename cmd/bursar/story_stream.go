package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

// patience is how long the story waits for what takes a moment.
const patience = 20 * time.Second

// follower is a call whose answer does not end by itself, and goes into a file while the story goes on.
type follower struct {
	call  curl
	file  string
	ended chan struct{} // closed at the end of the answer
}

func follow(call curl, file string) *follower {
	return &follower{call: call, file: file, ended: make(chan struct{})}
}

// start begins the call in the background.
func (f *follower) start() shell {
	return shell{"curl -sN" + f.call.arguments() + " > " + shellWord(f.file) + " &",
		func(ctx context.Context) (string, error) {
			resp, err := f.call.send(ctx)
			if err != nil {
				return "", err
			}
			out, err := os.Create(f.file)
			if err != nil {
				return "", errors.Join(err, resp.Body.Close())
			}
			go func() {
				defer close(f.ended)
				_, _ = io.Copy(out, resp.Body) // how it ends is what the story is about
				_ = resp.Body.Close()
				_ = out.Close()
			}()
			return "", f.grow(ctx)
		}}
}

// more shows the newest event, once there is one that was not there yet.
func (f *follower) more() shell {
	return shell{f.tail(), func(ctx context.Context) (string, error) {
		if err := f.grow(ctx); err != nil {
			return "", err
		}
		return f.last()
	}}
}

// end shows the last event, once the answer has ended.
func (f *follower) end() shell {
	return shell{"wait; " + f.tail(), func(ctx context.Context) (string, error) {
		ctx, stop := context.WithTimeout(ctx, patience)
		defer stop()
		select {
		case <-f.ended:
			return f.last()
		case <-ctx.Done():
			return "", errors.New("the answer does not end")
		}
	}}
}

func (f *follower) tail() string { return "tail -n 4 " + shellWord(f.file) }

// last is the newest event that is whole.
func (f *follower) last() (string, error) {
	text, err := os.ReadFile(f.file)
	if err != nil {
		return "", err
	}
	events := strings.Split(string(text), "\n\n")
	if len(events) < 2 {
		return "", errors.New("no event has come")
	}
	return events[len(events)-2] + "\n\n", nil
}

// grow waits until another event has come.
func (f *follower) grow(ctx context.Context) error {
	count := func() int {
		text, _ := os.ReadFile(f.file) // it is there soon
		return bytes.Count(text, []byte("\n\n"))
	}
	before := count()
	deadline := time.Now().Add(patience)
	for count() <= before {
		select {
		case <-f.ended:
			return errors.New("the answer has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.New("nothing comes")
		}
	}
	return nil
}
