package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bursar-sts/bursar/server/ledger"
)

func TestAnIDTellsWhenItWasMade(t *testing.T) {
	for _, made := range []time.Time{time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(1<<48 - 1),
		time.Date(2026, 11, 25, 1, 2, 3, 456e6, time.UTC)} {
		got, ok := ledger.IDTime(ledger.NewID(made))
		if !ok || !got.Equal(made) {
			t.Errorf("an id of %s is of %s, %t", made, got, ok)
		}
	}
	id := ledger.NewID(time.Now())
	last := "0123456789abcdefghijklmnopqrstuv"[strings.IndexByte("0123456789abcdefghijklmnopqrstuv", id[35])+1]
	for name, text := range map[string]string{
		"nothing": "", "a part": id[:35], "more": id + "0", "upper case": strings.ToUpper(id), "padding": id + "====",
		"a line": id[:35] + "\n", "another letter": "z" + id[1:], "the same id in another spelling": id[:35] + string(last),
	} {
		if at, ok := ledger.IDTime(text); ok || !at.IsZero() {
			t.Errorf("%s is an id of %s", name, at)
		}
	}
}
