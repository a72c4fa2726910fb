package adminapi

import (
	"encoding/json"
	"mime"
	"net/http"
)

// answer is a response.
type answer struct {
	status int
	body   any // JSON; nil is none
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

const (
	jsonMedia = "application/json"
	yamlMedia = "application/yaml" // RFC 9512
)

// media returns the media type of a body, without its parameters.
func media(h http.Header) string {
	m, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return m
}
