// Command agent is an agent of the tests: it makes the calls that it is told to, one per line of its standard input,
// and forgets nothing of what it gets. So whatever reached it at any time is in its memory, where a test can look.
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
)

// order is a call to be made.
type order struct {
	Method string      `json:"method"`
	URL    string      `json:"url"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
}

// report is what came of a call.
type report struct {
	Status int    `json:"status"`
	Bytes  int    `json:"bytes"` // of the body
	Hints  int    `json:"hints"` // answers before the answer
	Error  string `json:"error"`
}

// kept is all that ever came, so that nothing of it is collected as garbage.
var kept []any

func main() {
	orders := bufio.NewScanner(os.Stdin)
	orders.Buffer(nil, 1<<20)
	reports := json.NewEncoder(os.Stdout)
	for orders.Scan() {
		var o order
		if err := json.Unmarshal(orders.Bytes(), &o); err != nil {
			log.Fatal(err)
		}
		if err := reports.Encode(carryOut(o)); err != nil {
			log.Fatal(err)
		}
	}
}

// carryOut makes a call, and does not follow where an answer leads.
func carryOut(o order) (r report) {
	request, err := http.NewRequest(o.Method, o.URL, strings.NewReader(o.Body))
	if err != nil {
		return report{Error: err.Error()}
	}
	request.Header = o.Header
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			kept = append(kept, header)
			r.Hints++
			return nil
		}}))
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return report{Error: err.Error()}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	kept = append(kept, response, body)
	r.Status, r.Bytes = response.StatusCode, len(body)
	if err != nil {
		r.Error = err.Error()
	}
	return r
}
