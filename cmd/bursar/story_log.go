package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// tellLog is the end of the story: the log proves itself, and a copy in which one byte was changed does not.
func (d *demo) tellLog(run func(...step) error) error {
	log, changed := d.path("acme.tar"), d.path("changed.tar")
	if err := run(step{says: "The log is signed. A copy of it in one file proves itself to whoever has its key.",
		args: []string{"audit", "export", "--tenant", "acme", "-o", log}}); err != nil {
		return err
	}
	key, err := d.logKey()
	if err != nil {
		return err
	}
	err = run(step{says: "Anybody can verify it, offline, with that key and nothing else.",
		args: []string{"audit", "verify", log, "--key", key}})
	if err != nil {
		return err
	}
	flip, at, err := d.flip(log, changed)
	if err != nil {
		return err
	}
	return run(step{says: "Somebody changes one byte in a copy, amid an event.", does: flip, args: []string{
		fmt.Sprintf("cp %s %s; printf '*' | dd of=%[2]s bs=1 seek=%d conv=notrunc status=none", shellWord(log),
			shellWord(changed), at)}},
		step{says: "The copy does not pass. What was done, and to which event, is in the first line.",
			args: []string{"audit", "verify", changed, "--key", key}, code: exitRefused})
}

// logKey is the key of the log, as the last step told it.
func (d *demo) logKey() (string, error) {
	for _, word := range strings.Fields(d.said) {
		if strings.HasPrefix(word, strings.TrimPrefix(d.tenant(), "http://")+"/log+") {
			return word, nil
		}
	}
	return "", errors.New("the export told no key")
}

// beginning says where the byte is that is changed: at this many beginnings of JSON in base64url, of which every event
// has several, so that it is amid an event of the first few.
const beginning = 25

// flip returns what changes one byte of an event in a copy of an export, and where that byte is.
func (d *demo) flip(log, changed string) (do func() error, at int, err error) {
	data, err := os.ReadFile(log)
	if err != nil {
		return nil, 0, err
	}
	for range beginning {
		next := bytes.Index(data[at:], []byte("eyJ"))
		if next < 0 {
			return nil, 0, errors.New("the export has fewer events than the story")
		}
		at += next + len("eyJ")
	}
	data[at] = '*' // which is no base64url
	return func() error { return os.WriteFile(changed, data, 0o600) }, at, nil
}
