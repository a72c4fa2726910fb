// Command agent is an agent of the tests: it makes the calls that it is asked to, and forgets nothing of what it gets.
// So whatever reached it at any time is in its memory, where a test can look. Its first line on standard output is the
// URL where it takes orders.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"time"
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
var kept struct {
	sync.Mutex
	all []any
}

func keep(some ...any) {
	kept.Lock()
	defer kept.Unlock()
	kept.all = append(kept.all, some...)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("http://" + listener.Addr().String())
	server := &http.Server{Handler: http.HandlerFunc(take), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(listener))
}

func take(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(carryOut(o)) // whoever has left gets no report
}

// carryOut makes a call, and does not follow where an answer leads.
func carryOut(o order) (r report) {
	request, err := http.NewRequest(o.Method, o.URL, strings.NewReader(o.Body))
	if err != nil {
		return report{Error: err.Error()}
	}
	request.Header = o.Header
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
			keep(header)
			r.Hints++
			return nil
		}}))
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return report{Error: err.Error()}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	keep(response, body)
	r.Status, r.Bytes = response.StatusCode, len(body)
	if err != nil {
		r.Error = err.Error()
	}
	return r
}
