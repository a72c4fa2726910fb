package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Agent is a process that makes calls, and keeps in its memory whatever it gets.
type Agent struct {
	url     string
	process *process
}

// Order is a call that an agent is to make.
type Order struct {
	Method string      `json:"method"`
	URL    string      `json:"url"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
}

// Report is what came of it.
type Report struct {
	Status int    `json:"status"`
	Bytes  int    `json:"bytes"` // of the body
	Hints  int    `json:"hints"` // answers before the answer
	Error  string `json:"error"`
}

// StartAgent starts an agent that ends with the test.
func StartAgent(t testing.TB) *Agent {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{process: start(t, os.Stderr, w, binary(t, "agent"))}
	t.Cleanup(func() { a.process.end(syscall.SIGKILL) })
	_ = w.Close()
	defer func() { _ = r.Close() }()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("start an agent: %v", err)
	}
	a.url = strings.TrimSpace(line)
	return a
}

// PID is the id of its process.
func (a *Agent) PID() int { return a.process.cmd.Process.Pid }

// Call has it make a call.
func (a *Agent) Call(t testing.TB, o Order) (r Report) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(a.url, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}
