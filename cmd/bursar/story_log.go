package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// tellLog is the end of the story: the log proves itself, and a copy in which one byte was changed does not.
func (s *story) tellLog(ctx context.Context) error {
	log, changed := s.path("acme.tar"), s.path("changed.tar")
	err := s.run(ctx, step{says: "The log is signed. A copy of it in one file proves itself to whoever has its key.",
		do: do("audit", "export", "--tenant", "acme", "-o", log)})
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(s.tenant(), "http://") + "/log+"
	key, ok := s.word(func(word string) bool { return strings.HasPrefix(word, name) })
	if !ok {
		return errors.New("the export told no key")
	}
	err = s.run(ctx, step{says: "Anybody can verify it, offline, with that key and nothing else.",
		do: do("audit", "verify", log, "--key", key)})
	if err != nil {
		return err
	}
	flip, err := flip(log, changed)
	if err != nil {
		return err
	}
	return s.run(ctx, step{says: "Somebody changes one byte in a copy, amid an event.", do: flip},
		step{says: "The copy does not pass. What was done, and to which event, is in the first line.",
			do: refused("audit", "verify", changed, "--key", key)})
}

// beginning says where the byte is that is changed: at this many beginnings of JSON in base64url, of which every event
// has several, so that it is amid an event of the first few.
const beginning = 25

// flip changes one byte of an event in a copy of an export.
func flip(log, changed string) (shell, error) {
	data, err := os.ReadFile(log)
	if err != nil {
		return shell{}, err
	}
	at := 0
	for range beginning {
		next := bytes.Index(data[at:], []byte("eyJ"))
		if next < 0 {
			return shell{}, errors.New("the export has fewer events than the story")
		}
		at += next + len("eyJ")
	}
	data[at] = '*' // which is no base64url
	text := fmt.Sprintf("cp %s %s; printf '*' | dd of=%[2]s bs=1 seek=%d conv=notrunc status=none", shellWord(log),
		shellWord(changed), at)
	return shell{text, func(context.Context) (string, error) { return "", os.WriteFile(changed, data, 0o600) }}, nil
}
