package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// inQuery moves the parameters from the body into the URL, all or the named ones.
func inQuery(names ...string) func(*request) {
	return func(r *request) {
		moved := r.with(func(m *request) {
			if len(names) == 0 {
				return
			}
			for name := range m.form {
				if !slices.Contains(names, name) {
					m.form.Del(name)
				}
			}
		})
		r.query = encodeForm(moved.form)
		for name := range moved.form {
			r.form.Del(name)
		}
	}
}

func method(name string) func(*request) { return func(r *request) { r.method = name } }

func asJSON(r *request) {
	members := map[string]string{}
	for name := range r.form {
		members[name] = r.form.Get(name)
	}
	text, _ := json.Marshal(members) // strings can always be written
	body := string(text)
	r.body, r.media = &body, "application/json"
}

// asMultipart writes the form as multipart/form-data, filled up to a size.
func asMultipart(size int) func(*request) {
	return func(r *request) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name := range r.form {
			_ = w.WriteField(name, r.form.Get(name)) // a buffer takes everything
		}
		if missing := size - b.Len(); missing > 0 {
			file, _ := w.CreateFormFile("file", "f")
			_, _ = file.Write(bytes.Repeat([]byte{'a'}, missing))
		}
		_ = w.Close()
		body := b.String()
		r.body, r.media = &body, w.FormDataContentType()
	}
}

// written writes credentials of the request's client into it before it is turned into something else than a form.
func (s *suite) written(edit func(*request)) func(*request) {
	return func(r *request) {
		if r.client != nil {
			if err := r.client.sign(r, s.now()); err != nil {
				return
			}
		}
		r.client = nil
		edit(r)
	}
}

func formChecks() []check {
	return []check{
		{is("form.get", "A1", findings.Must, findings.Medium, "a token request by GET gets no token",
			"RFC 6749 §3.2", "Serve the token endpoint for POST only: what is in a URL ends up in logs."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "GET, the parameters in the URL", invalidRequest.orStatus(404, 405),
					p.written(func(r *request) { inQuery()(r); r.method, r.media = http.MethodGet, "" }))
			}},
		{is("form.methods", "A1", findings.Profile, findings.Low, "only POST gets a token",
			"RFC 6749 §3.2", "Answer every other method with 405 and Allow: POST."),
			plain, nil, func(ctx context.Context, p *probe) {
				for _, m := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
					p.refuse(ctx, m, invalidRequest.orStatus(404, 405), method(m))
				}
			}},
		{is("form.query", "A17", findings.Must, findings.Medium, "parameters in the URL are not read",
			"RFC 8693 §2.1, RFC 6749 §2.3.1", "Read parameters from the body alone; do not merge the query into the form."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "POST, all parameters in the URL", invalidRequest.orStatus(401), p.written(inQuery()))
				p.refuse(ctx, "POST, subject_token in the URL", invalidRequest.orStatus(401), inQuery("subject_token"))
			}},
		{is("form.json", "A4", findings.Profile, findings.Low, "parameters as JSON are not read",
			"RFC 8693 §2.1", "Accept application/x-www-form-urlencoded only, so that there is one parser to trust."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "the parameters as application/json", invalidRequest.orStatus(401, 415), p.written(asJSON))
			}},
		{is("form.multipart", "A5 T-60", findings.Profile, findings.Medium, "parameters as multipart/form-data are not read",
			"RFC 8693 §2.1", "Refuse the content type before parsing: multipart parsers write large parts to disk."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "the parameters as multipart/form-data", invalidRequest.orStatus(401, 415), p.written(asMultipart(0)))
				p.refuse(ctx, "the same with a part of 128 KiB", invalidRequest.orStatus(401, 413, 415),
					p.written(asMultipart(128<<10)))
			}},
		{is("form.no-type", "A6", findings.Profile, findings.Low, "a body that does not say what it is is not read",
			"RFC 8693 §2.1", "Demand the Content-Type."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "no Content-Type", invalidRequest.orStatus(401, 415), media(""))
				p.refuse(ctx, "Content-Type: text/plain", invalidRequest.orStatus(401, 415), media("text/plain"))
			}},
		{is("form.charset", "A7", findings.Must, findings.Low, "the charset that forms have may be named",
			"RFC 8693 §2.1, RFC 6749 B", "Accept the parameter charset=UTF-8 of the content type."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.accept(ctx, "Content-Type: "+formType+"; charset=UTF-8", media(formType+"; charset=UTF-8"))
			}},
		{is("form.encoding", "A8 A10 A12", findings.Profile, findings.Low,
			"what is not properly encoded is refused, not repaired",
			"RFC 8693 §2.1, RFC 6749 B", "Refuse bad escapes, text that is not UTF-8, and control characters."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "charset=utf-16", invalidRequest.orStatus(415), media(formType+"; charset=utf-16"))
				p.refuse(ctx, "a parameter with the byte FF", invalidRequest, behind("&note=%FF"))
				p.refuse(ctx, "a bad percent escape", invalidRequest, behind("&note=%zz"))
				p.refuse(ctx, "a NUL in a parameter", invalidRequest, behind("&note=a%00b"))
			}},
		{is("form.size", "A3 T-60", findings.Profile, findings.Medium, "a very large body is refused",
			"bounded work for callers whom nobody knows", "Bound the body before parsing it, and answer 413."),
			plain, nil, func(ctx context.Context, p *probe) {
				w := invalidRequest.orStatus(413)
				pad := "&pad=" + strings.Repeat("a", 1<<20)
				if a := p.ask(ctx, behind(pad)); a != nil {
					if strings.HasPrefix(a.failed, "no answer:") || strings.HasPrefix(a.failed, "the connection") {
						p.note(true, "a body of 1 MiB", w.String(), a.failed) // hung up on: refused as well
						return
					}
					p.judge("a body of 1 MiB", w, a)
				}
			}},
		{is("form.many", "A11", findings.Profile, findings.Info, "a form with very many parameters is refused",
			"bounded work for callers whom nobody knows", "Bound the number of parameters and the length of their names."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "5000 more parameters", invalidRequest.orStatus(413), behind(strings.Repeat("&p=", 0)+many(5000)))
				p.refuse(ctx, "a name of 4 KiB", invalidRequest.orStatus(413), behind("&"+strings.Repeat("n", 4<<10)+"=1"))
			}},
		{is("form.duplicate", "A14 A18 A19 T-43", findings.Must, findings.Medium, "no parameter is given twice",
			"RFC 6749 §3.2, §5.2", "Refuse repeated parameters: two readers may take different ones."),
			plain, nil, func(ctx context.Context, p *probe) {
				for _, name := range []string{"grant_type", "subject_token", "subject_token_type", "scope"} {
					r, err := p.good(ctx, plain)
					if err != nil || !r.form.Has(name) {
						continue
					}
					p.refuse(ctx, name+" twice", invalidRequest, func(r *request) { repeat(name, r.form.Get(name))(r) })
				}
				p.refuse(ctx, "a second subject_token that is garbage", invalidRequest, repeat("subject_token", "x.y.z"))
				p.refuse(ctx, "requested_token_type twice", invalidRequest, repeat("requested_token_type",
					typePrefix+"access_token"),
					repeat("requested_token_type", typePrefix+"access_token"))
			}},
		{is("form.repeat-target", "A20", findings.Profile, findings.Low, "the same target twice is one target",
			"RFC 8693 §2.1", "resource and audience may repeat; drop repetitions."),
			plain, []need{hasTarget}, func(ctx context.Context, p *probe) {
				name, value := p.target()
				p.accept(ctx, name+" twice, the same", repeat(name, value))
			}},
		{is("form.unknown", "A21", findings.Must, findings.Low, "a parameter that nobody knows is passed over",
			"RFC 6749 §3.2", "Ignore unrecognized parameters."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.accept(ctx, "one more parameter, unknown", set("x_note",
					"1"))
			}},
		{is("form.empty", "", findings.Must, findings.Low, "a parameter without a value counts as absent",
			"RFC 6749 §3.2", "Drop empty parameters before anything else looks at them."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.accept(ctx, "empty actor_token and actor_token_type", set("actor_token", ""), set("actor_token_type", ""))
				p.accept(ctx, "an empty requested_token_type", set("requested_token_type", ""))
			}},
		{is("form.cors", "A2", findings.Profile, findings.Medium,
			"a page of another origin may not use the endpoint with credentials",
			"RFC 9700 §2.6, Fetch §3.2", "Do not answer preflights with the caller's origin and Allow-Credentials."),
			nothing, nil, func(ctx context.Context, p *probe) {
				r := p.post(p.server.Token, nil).with(method(http.MethodOptions), media(""),
					header("Origin", "https://evil.example"), header("Access-Control-Request-Method", "POST"))
				a := p.send(ctx, r)
				bad := a.header.Get("Access-Control-Allow-Origin") == "https://evil.example" &&
					strings.EqualFold(a.header.Get("Access-Control-Allow-Credentials"), "true")
				got := "no such headers"
				if bad {
					got = "the origin is allowed, with credentials"
				}
				p.note(!bad && a.failed == "", "a preflight from https://evil.example", "no Allow-Origin with Allow-Credentials",
					cmpFailed(a, got))
			}},
	}
}

func cmpFailed(a *answer, got string) string {
	if a.failed != "" {
		return a.failed
	}
	return got
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("&p")
		for ; i > 0; i /= 10 {
			b.WriteByte(byte('0' + i%10))
		}
		b.WriteString("=1")
	}
	return b.String()
}

func grantChecks() []check {
	return []check{
		{is("grant.missing", "A9 A13", findings.Must, findings.Medium, "a request without a grant type gets no token",
			"RFC 6749 §5.2", "Demand grant_type; never guess one."),
			plain, nil, func(ctx context.Context, p *probe) {
				w := invalidRequest.or("unsupported_grant_type")
				p.refuse(ctx, "no grant_type", w, drop("grant_type"))
				p.refuse(ctx, "an empty grant_type", w, set("grant_type", ""))
			}},
		{is("grant.unknown", "A15", findings.Must, findings.Medium, "an unknown grant type gets no token",
			"RFC 6749 §5.2", "Answer unsupported_grant_type."),
			plain, nil, func(ctx context.Context, p *probe) {
				p.refuse(ctx, "grant_type=urn:example:nonsense",
					want{codes: []string{"unsupported_grant_type"}}, set("grant_type", "urn:example:nonsense"))
			}},
		{is("grant.spelling", "A16", findings.Must, findings.Low, "the grant type is compared exactly",
			"RFC 8693 §2.1", "Compare the whole value, case and all."),
			plain, nil, func(ctx context.Context, p *probe) {
				w := want{codes: []string{"unsupported_grant_type", "invalid_request"}}
				p.refuse(ctx, "the URN in upper case", w, set("grant_type", strings.ToUpper(grantExchange)))
				p.refuse(ctx, "the URN and another word", w, set("grant_type", grantExchange+" foo"))
			}},
	}
}

// target is the parameter that names the good request's target, and its value.
func (s *suite) target() (name, value string) {
	if s.profile.Request.Resource != "" {
		return "resource", s.profile.Request.Resource
	}
	return "audience", s.profile.Request.Audience
}
