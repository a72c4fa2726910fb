package accept

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

// maxSink bounds the name of a sink and the code of a dead letter, in bytes.
const maxSink = 64

// Sink refuses the name of a sink that could leave its part of the key space.
func Sink(name string) error {
	if name == "" || len(name) > maxSink || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("a sink has no short name of lower-case letters, digits and hyphens")
	}
	return nil
}

// Turn refuses an owner of a sink without a name, and a time that could overflow.
func Turn(owner string, d time.Duration) error {
	if owner == "" || len(owner) > maxWriter || strings.Trim(owner, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("the owner of a sink has no short name of lower-case letters, digits and hyphens")
	}
	if d < 0 || d > maxKeep {
		return errors.New("a sink is held for less than nothing, or for more than ten years")
	}
	return nil
}

// Move refuses a step that no state of a sink could accept.
func Move(m ledger.Move) error {
	if err := Turn(m.Owner, m.For); err != nil {
		return err
	}
	for _, mark := range []ledger.Mark{m.From, m.To} {
		if mark.Epoch < 0 || mark.Index < 0 {
			return errors.New("a mark is before the log")
		}
	}
	if m.To.Epoch < m.From.Epoch || m.To.Epoch == m.From.Epoch && m.To.Index < m.From.Index {
		return errors.New("a sink does not move back")
	}
	if len(m.Dead) > ledger.MaxLetters {
		return fmt.Errorf("a step has at most %d dead letters", ledger.MaxLetters)
	}
	for _, letter := range m.Dead {
		if letter.Code == "" || len(letter.Code) > maxSink ||
			strings.Trim(letter.Code, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return errors.New("a dead letter has no short code of lower-case letters, digits and underscores")
		}
		if letter.Epoch < 0 || letter.Index < 0 {
			return errors.New("a dead letter is before the log")
		}
	}
	return nil
}
