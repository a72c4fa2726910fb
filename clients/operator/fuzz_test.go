package operator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	admin "github.com/bursar-sts/bursar/clients/operator"
)

// FuzzAnswer reads successes. What is no JSON of the right form is an error, not a page that is half read; the claims
// of an event come through byte by byte, as far as spaces between them do not count.
func FuzzAnswer(f *testing.F) {
	f.Add("application/json", `{"events":[{"index":4,"claims":{"a":1}}],"next":5}`)
	f.Add("application/json", `{"events":[{"index":4.5}]}`)
	f.Add("application/json", `{"events":null,"next":0}`)
	f.Add("application/json", `{"events":[],"next":1}{}`)
	f.Add("text/html", `{"events":[]}`)
	f.Add("application/json", strings.Repeat("[", 10_000))
	f.Fuzz(func(t *testing.T, media, body string) {
		c := admin.Client{BaseURL: "https://sts.example", Token: token, HTTP: &http.Client{
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {media}},
					Body: io.NopCloser(strings.NewReader(body))}, nil
			})}}
		page, err := c.Events(t.Context(), "acme", admin.EventQuery{})
		if err != nil {
			if page != nil {
				t.Errorf("an error, and %+v", page)
			}
			return
		}
		var want admin.Events
		if err := json.Unmarshal([]byte(body), &want); err != nil || page.Next != want.Next ||
			len(page.Events) != len(want.Events) {
			t.Fatalf("%q is read as %+v: %v", body, page, err)
		}
		for i, e := range page.Events {
			if e.Index != want.Events[i].Index || string(e.Claims) != string(want.Events[i].Claims) {
				t.Errorf("event %d is %+v, want %+v", i, e, want.Events[i])
			}
		}
	})
}
