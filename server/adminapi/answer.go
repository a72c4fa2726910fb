package adminapi

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"time"
)

// answer is a response.
type answer struct {
	status int
	body   any // JSON; nil is none
	// stream, if set, writes the body, of binaryMedia. If it fails, the response ends without its end.
	stream func(context.Context, io.Writer) error
}

// items is the shape of every list.
type items[T any] struct {
	Items []T `json:"items"`
}

// list translates a list.
func list[From, To any](from []From, translate func(From) To) answer {
	l := items[To]{Items: make([]To, len(from))}
	for i, x := range from {
		l.Items[i] = translate(x)
	}
	return answer{status: http.StatusOK, body: l}
}

func write(w http.ResponseWriter, a answer) {
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	text, err := json.Marshal(a.body)
	if err != nil { // a bug: nothing here fails to marshal
		text, a.status = []byte("{}"), http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", jsonMedia)
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // whoever does not read the answer does not get it
}

// patience is how long a reader of a stream may take for what it was sent.
const patience = 30 * time.Second

// pour answers with a stream. It returns why the stream has no end.
func pour(ctx context.Context, w http.ResponseWriter, a answer) error {
	w.Header().Set("Content-Type", binaryMedia)
	w.WriteHeader(a.status)
	return a.stream(ctx, outlet{w, http.NewResponseController(w)})
}

// outlet gives a reader time, as long as it reads.
type outlet struct {
	io.Writer
	control *http.ResponseController
}

func (o outlet) Write(data []byte) (int, error) {
	_ = o.control.SetWriteDeadline(time.Now().Add(patience)) // what has none is a test's
	return o.Writer.Write(data)
}

const (
	jsonMedia = "application/json"
	yamlMedia = "application/yaml" // RFC 9512

	binaryMedia = "application/octet-stream"
)

// media returns the media type of a body, without its parameters.
func media(h http.Header) string {
	m, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return m
}
