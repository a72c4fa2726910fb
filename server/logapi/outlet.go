package logapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/bursar-sts/bursar/clients/operator"
)

// outlet sends what a reader of events is told. It holds little: when that is full, or the reader must know, it waits
// until the reader has taken it, and no longer than its patience.
type outlet struct {
	to       http.ResponseWriter
	control  *http.ResponseController
	form     form
	patience time.Duration

	buffer []byte
	begun  bool      // the answer has begun: it cannot become a refusal any more
	broken bool      // the reader cannot be reached any more
	at     time.Time // when something was sent last
	told   int64     // how many events the reader knows that it knows
}

const (
	// outletSize is how much is sent at a time, in bytes, give or take an event.
	outletSize = 32 << 10
	// passEvery is how often a reader is told that it knows more events although it wanted none of them.
	passEvery = time.Second
)

func newOutlet(w http.ResponseWriter, sse bool, patience time.Duration) outlet {
	o := outlet{to: w, control: http.NewResponseController(w), form: lineForm{}, patience: patience, at: time.Now()}
	if sse {
		o.form = eventForm{}
	}
	return o
}

// event tells an event.
func (o *outlet) event(next int64, data []byte) error {
	o.buffer, o.told = o.form.event(o.buffer, next, data), next
	if len(o.buffer) < outletSize {
		return nil
	}
	return o.flush(false)
}

// cursor tells how many events the reader knows. It also shows that the connection is alive.
func (o *outlet) cursor(next int64) { o.buffer, o.told = o.form.cursor(o.buffer, next), next }

// pass tells the same to one who was told nothing for some time, and sends what waits.
func (o *outlet) pass(next int64) error {
	if next > o.told && time.Since(o.at) >= passEvery {
		o.cursor(next)
	}
	return o.flush(false)
}

func (o *outlet) checkpoint(next int64, note []byte) {
	if sent := o.form.checkpoint(o.buffer, next, note); len(sent) > len(o.buffer) {
		o.buffer, o.told = sent, next
	}
}

func (o *outlet) problem(p *operator.Problem) {
	text, err := json.Marshal(p)
	if err != nil { // a bug: strings and numbers marshal
		return
	}
	o.buffer = o.form.problem(o.buffer, text)
	_ = o.flush(true) // there is nobody else to tell
}

// flush sends what waits; with always also where that is nothing, so that the answer begins.
func (o *outlet) flush(always bool) error {
	if len(o.buffer) == 0 && !always {
		return nil
	}
	if !o.begun {
		h := o.to.Header()
		h.Set("Content-Type", o.form.media())
		h.Set("Cache-Control", noStore)
		h.Set("X-Accel-Buffering", "no") // of proxies that gather an answer before they pass it on
		o.begun = true
	}
	o.at = time.Now()
	_ = o.control.SetWriteDeadline(o.at.Add(o.patience)) // what has none is a test's
	_, err := o.to.Write(o.buffer)
	if err == nil {
		err = o.control.Flush()
	}
	o.broken = err != nil
	if o.buffer = o.buffer[:0]; cap(o.buffer) > 4*outletSize {
		o.buffer = nil
	}
	return err
}

// form is how things are told. Each method appends to what waits.
type form interface {
	media() string
	event(to []byte, next int64, data []byte) []byte
	cursor(to []byte, next int64) []byte
	checkpoint(to []byte, next int64, note []byte) []byte
	problem(to, text []byte) []byte
}

// lineForm is lines of JSON: events, {"next":n}, and {"problem":{…}} at the end of an answer that is not whole.
type lineForm struct{}

func (lineForm) media() string { return "application/x-ndjson" }

func (lineForm) event(to []byte, _ int64, data []byte) []byte {
	return append(append(to, data...), '\n')
}

func (lineForm) cursor(to []byte, next int64) []byte {
	return append(strconv.AppendInt(append(to, `{"next":`...), next, 10), "}\n"...)
}

func (lineForm) checkpoint(to []byte, _ int64, _ []byte) []byte { return to }

func (lineForm) problem(to, text []byte) []byte {
	return append(append(append(to, `{"problem":`...), text...), "}\n"...)
}

// eventForm is server-sent events (WHATWG HTML §9.2): the id of each is the cursor behind it, with which the reader
// resumes. A comment and an id without data move the cursor, show that the connection is alive, and are no event.
type eventForm struct{}

func (eventForm) media() string { return "text/event-stream" }

func (eventForm) send(to []byte, name string, next int64, data []byte) []byte {
	to = strconv.AppendInt(append(to, "id: "...), next, 10)
	to = append(append(to, "\nevent: "...), name...)
	return append(append(append(to, "\ndata: "...), data...), "\n\n"...)
}

func (f eventForm) event(to []byte, next int64, data []byte) []byte {
	return f.send(to, "event", next, data)
}

func (eventForm) cursor(to []byte, next int64) []byte {
	return append(strconv.AppendInt(append(to, ":\nid: "...), next, 10), "\n\n"...)
}

func (f eventForm) checkpoint(to []byte, next int64, note []byte) []byte {
	text, err := json.Marshal(struct {
		Next int64  `json:"next"`
		Note string `json:"note"`
	}{next, string(note)})
	if err != nil { // a bug: a string marshals
		return to
	}
	return f.send(to, "checkpoint", next, text)
}

func (eventForm) problem(to, text []byte) []byte {
	return append(append(append(to, "event: problem\ndata: "...), text...), "\n\n"...)
}
