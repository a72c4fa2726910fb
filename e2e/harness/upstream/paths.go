package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Paths answers by the path of the request:
//
//	/v1/…                what an API answers: 200 and {"ok": true, "key": n} for its nth key, 401 for none
//	/echo/PLACE/FORM/…   the whole request, in a place of the answer and in a form; see Places and Forms
//	/random/SEED         the key in places, forms, codings and pieces that follow from the seed; see Random
//	/end/HOW             an answer that ends badly, or never; see Ends
//	/ws/HOW              a WebSocket; see Sockets
//	/status/CODE         an answer with this status, whose body holds the request
//
// Everything else is answered with 404 and the request.
func Paths(x *Exchange) {
	answers := []struct {
		prefix string
		answer func(x *Exchange, rest []string) bool
	}{
		{"/v1/", api}, {"/echo/", echo}, {"/random/", random}, {"/end/", ends}, {"/ws/", socket}, {"/status/", status},
	}
	for _, a := range answers {
		if rest := x.segments(a.prefix); rest != nil && a.answer(x, rest) {
			return
		}
	}
	x.Send(Response{Status: 404, Body: x.Raw})
}

func api(x *Exchange, _ []string) bool {
	header := []Field{{"Content-Type", "application/json"}}
	x.upstream.mu.Lock()
	known := x.upstream.keys
	x.upstream.mu.Unlock()
	for i, key := range known {
		if key == x.Key {
			x.Send(Response{Header: header, Body: fmt.Appendf(nil, `{"ok":true,"key":%d}`, i)})
			return true
		}
	}
	x.Send(Response{Status: 401, Header: header, Body: []byte(`{"ok":false}`)})
	return true
}

func status(x *Exchange, rest []string) bool {
	code, err := strconv.Atoi(rest[0])
	if err != nil || code < 200 || code > 599 {
		return false
	}
	x.Send(Response{Status: code, Reason: "as you like", Header: []Field{{"X-Echo", line(x.text())}}, Body: x.Raw})
	return true
}

// text is what is echoed where the whole request does not fit: its head.
func (x *Exchange) text() string { return string(x.Head()) }

// Places are where the whole request, in a form, is put into an answer.
func Places() []string {
	var names []string
	for _, p := range places {
		names = append(names, p.name)
	}
	return names
}

func echo(x *Exchange, rest []string) bool {
	if len(rest) < 2 {
		return false
	}
	form, ok := FormNamed(rest[1])
	if !ok {
		return false
	}
	for _, p := range places {
		if p.name == rest[0] {
			x.Send(p.answer(x, form.Encode))
			return true
		}
	}
	return false
}

type encode = func(string) string

// places put the request into an answer.
var places = []struct {
	name   string
	answer func(x *Exchange, form encode) Response
}{
	{"body", func(x *Exchange, form encode) Response {
		return Response{Header: text, Body: []byte(form(string(x.Raw)))}
	}},
	{"json", func(x *Exchange, form encode) Response {
		var body bytes.Buffer
		fmt.Fprintf(&body, `{"target":"%s","headers":{`, quoted(form(x.Target)))
		for i, f := range x.Header {
			fmt.Fprintf(&body, `%s"%s":"%s"`, ","[:min(i, 1)], quoted(f.Name), quoted(form(f.Value)))
		}
		fmt.Fprintf(&body, `},"body":"%s"}`, quoted(form(string(x.Body))))
		return Response{Header: []Field{{"Content-Type", "application/json"}}, Body: body.Bytes()}
	}},
	{"chunked", func(x *Exchange, form encode) Response {
		return Response{Header: text, Framing: Chunked, Body: []byte(form(string(x.Raw)))}
	}},
	{"close", func(x *Exchange, form encode) Response {
		return Response{Header: text, Framing: ByClose, Body: []byte(form(string(x.Raw)))}
	}},
	{"bytewise", func(x *Exchange, form encode) Response {
		body := []byte(form(x.text()))
		return Response{Header: text, Framing: Chunked, Body: body, Pieces: ones(len(body)), Pause: 20 * time.Microsecond}
	}},
	{"header", func(x *Exchange, form encode) Response {
		r := Response{Header: []Field{{"X-Echo", line(form(x.text()))}}, Body: []byte("see the header\n")}
		for _, f := range x.Header {
			r.Header = append(r.Header, Field{"X-Echo-" + f.Name, line(form(f.Value))})
		}
		return r
	}},
	{"name", func(x *Exchange, form encode) Response {
		return Response{Header: []Field{{"X-" + word(form(x.Key)), "1"}}, Body: []byte("see the name\n")}
	}},
	{"reason", func(x *Exchange, form encode) Response {
		return Response{Reason: flat(form(x.text())), Body: []byte("see the status\n")}
	}},
	{"early", func(x *Exchange, form encode) Response {
		early := []Field{{"Link", `</style.css>; title="` + line(form(x.text())) + `"`}, {"X-Echo", line(form(x.text()))}}
		return Response{Early: early, Body: []byte("see the hints\n")}
	}},
	{"trailer", func(x *Exchange, form encode) Response {
		return Response{Framing: Chunked, Body: []byte("see the trailer\n"),
			Trailer: []Field{{"X-Echo", line(form(x.text()))}, {"X-Sum", line(form(x.Key))}}}
	}},
	{"location", located("Location", 302)}, {"see-other", located("Location", 303)},
	{"temporary", located("Location", 307)}, {"permanent", located("Location", 308)},
	{"created", located("Location", 201)},
	{"content-location", located("Content-Location", 200)},
	{"link", func(x *Exchange, form encode) Response {
		return Response{Header: []Field{{"Link", "<" + x.target(form) + `>; rel="next"`}}, Body: []byte("more\n")}
	}},
	{"refresh", func(x *Exchange, form encode) Response {
		return Response{Header: []Field{{"Refresh", "5; url=" + x.target(form)}}, Body: []byte("soon\n")}
	}},
	{"cookie", func(x *Exchange, form encode) Response {
		return Response{Header: []Field{{"Set-Cookie", "session=" + line(form(x.Key)) + "; Path=/"}, {"Set-Cookie2", "a=b"}},
			Body: []byte("hello\n")}
	}},
	{"challenge", func(x *Exchange, form encode) Response {
		realm := `Basic realm="` + line(form(x.Key)) + `"`
		return Response{Status: 401, Body: []byte("no\n"), Header: []Field{{"WWW-Authenticate", realm},
			{"Proxy-Authenticate", realm}, {"Authentication-Info", "nextnonce=" + line(form(x.Key))},
			{"Proxy-Authentication-Info", "nextnonce=" + line(form(x.Key))}}}
	}},
	{"alt-svc", func(x *Exchange, _ encode) Response {
		return Response{Header: []Field{{"Alt-Svc", `h3="evil.example:443"; ma=86400`}}, Body: []byte("go there\n")}
	}},
	{"gzip", coded("gzip")}, {"x-gzip", coded("x-gzip")}, {"deflate", coded("deflate")}, {"zlib", coded("zlib")},
	{"br", coded("br")}, {"zstd", coded("zstd")}, {"twice", coded("gzip, gzip")}, {"odd", coded("rot13")},
	{"range", func(x *Exchange, form encode) Response {
		return ranged(x, []byte(form(x.Key)))
	}},
	{"sse", func(x *Exchange, form encode) Response {
		var body bytes.Buffer
		for i, f := range append([]Field{{"target", x.Target}}, x.Header...) {
			fmt.Fprintf(&body, "id: %d\nevent: %s\ndata: %s\n\n", i, f.Name, events(form(f.Value)))
		}
		return Response{Header: []Field{{"Content-Type", "text/event-stream"}}, Framing: Chunked, Body: body.Bytes(),
			Pieces: ones(body.Len() / 7)}
	}},
	{"long", func(x *Exchange, form encode) Response {
		filler := strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ -_+/=%&;\n", 1000)
		var body bytes.Buffer
		for body.Len() < 11<<20 {
			body.WriteString(filler[:len(filler)-body.Len()%977] + form(x.Key))
		}
		return Response{Header: text, Framing: Chunked, Body: body.Bytes(), Pieces: []int{1 << 20, 3, 5 << 20, 1}}
	}},
}

// quoted makes a text fit for a JSON string, unless it is already.
func quoted(text string) string {
	if json.Valid([]byte(`"` + text + `"`)) {
		return text
	}
	return quote(text)
}

// events breaks the lines of an event's data (HTML Living Standard §9.2).
func events(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\ndata: ")
}

var text = []Field{{"Content-Type", "text/plain"}}

func ones(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 1
	}
	return sizes
}

// word leaves of a text what a header's name may hold (RFC 9110 §5.6.2).
func word(text string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r) {
			return r
		}
		return -1
	}, text)
}

// target is a URL of the upstream itself, with the request's query and the key in it.
func (x *Exchange) target(form encode) string {
	_, query, _ := strings.Cut(x.Target, "?")
	return x.Origin() + "/landing?" + query + "&k=" + flat(form(x.Key)) + "#" + flat(form(x.Key))
}

func located(header string, status int) func(x *Exchange, form encode) Response {
	return func(x *Exchange, form encode) Response {
		return Response{Status: status, Header: []Field{{header, x.target(form)}}, Body: []byte("there\n")}
	}
}

// ranged answers with the part of the body that the request asks for (RFC 9110 §14).
func ranged(x *Exchange, body []byte) Response {
	r := Response{Header: []Field{{"Accept-Ranges", "bytes"}, {"Content-Type", "text/plain"}}, Body: body}
	var from, to int
	asked := strings.Join(x.Get("Range"), ",")
	if n, _ := fmt.Sscanf(asked, "bytes=%d-%d", &from, &to); n == 2 && from >= 0 && from <= to && to < len(body) {
		r.Status, r.Body = 206, body[from:to+1]
		r.Header = append(r.Header, Field{"Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(body))})
	}
	return r
}
