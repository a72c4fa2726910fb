package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
)

// FuzzParseCutoff reads stored cutoffs. What is not one is an error and never half a cutoff; what is one is written
// the same way again.
func FuzzParseCutoff(f *testing.F) {
	f.Add("client:bot", "7:1700000000000:1700000960000:1")
	f.Add("subject:corp:a:b", "1:0:0:0")
	f.Add("tenant:", "1:2:3")
	f.Add("x", "1:2:3:4:5")
	f.Add("a:b", "9223372036854775808:0:0:0")
	f.Add("a:b", "-1:+2: 3:1")
	f.Fuzz(func(t *testing.T, name, value string) {
		c, err := parseCutoff(name, value)
		if err != nil {
			if c != (ledger.Cutoff{}) || len(value) > 12 && strings.Contains(err.Error(), value) {
				t.Fatalf("%q %q is %+v, %v", name, value, c, err)
			}
			return
		}
		if strings.Contains(c.Kind, ":") || !strings.HasPrefix(cutoffName(c.Key), name) {
			t.Errorf("%q names %+v", name, c.Key)
		}
		disabled := 0
		if c.Disabled {
			disabled = 1
		}
		written := fmt.Sprintf("%d:%d:%d:%d", c.Seq, c.At.UnixMilli(), c.Until.UnixMilli(), disabled)
		again, err := parseCutoff(cutoffName(c.Key), written)
		if err != nil || again.Key != c.Key || again.Seq != c.Seq || !again.At.Equal(c.At) || again.Disabled != c.Disabled {
			t.Errorf("%q became %q: %+v, then %+v (%v)", value, written, c, again, err)
		}
	})
}

// FuzzParseLetter reads stored dead letters. What is not one is an error, and never half a letter.
func FuzzParseLetter(f *testing.F) {
	for _, seed := range []string{"1:7:1700000000000:invalid_request", "1:2:3", "1:2:3:4:5", "9223372036854775808:0:0:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		l, err := parseLetter(value)
		if err != nil {
			if l != (ledger.DeadLetter{}) {
				t.Fatalf("%q is %+v, %v", value, l, err)
			}
			return
		}
		again, err := parseLetter(fmt.Sprintf("%d:%d:%d:%s", l.Epoch, l.Index, l.At.UnixMilli(), l.Code))
		if err != nil || again.Mark != l.Mark || !again.At.Equal(l.At) || again.Code != l.Code {
			t.Errorf("%q became %+v, then %+v (%v)", value, l, again, err)
		}
	})
}

// FuzzReply reads answers of the commit script, written as JSON lists. Whatever Redis, or something that is taken for
// it, answers, a commit counts as made only if every part of the position is there.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{`["ok",0,1,2,1700000000000]`, `["ok",0,1,2]`, `["ok","0",1,2,3]`, `["conflict",3]`,
		`["sequence"]`, `["taken",0,2]`, `["taken"]`, `["taken","0"]`, `[]`, `[null]`, `["other"]`, `[["ok"],1]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var parts []any
		if json.Unmarshal(data, &parts) != nil {
			return
		}
		for i, part := range parts {
			if number, ok := part.(float64); ok {
				parts[i] = int64(number)
			}
		}
		p, err := new(DB).position(parts, nil)
		taken, isTaken := errors.AsType[*ledger.Taken](err)
		switch {
		case err == nil:
			if len(parts) < 5 || parts[0] != "ok" {
				t.Errorf("%s counts as a commit", data)
			}
			for _, part := range parts[1:5] {
				if _, ok := part.(int64); !ok {
					t.Errorf("%s counts as a commit", data)
				}
			}
		case isTaken && (len(taken.Claims) == 0 || len(taken.Claims) != len(parts)-1):
			t.Errorf("%s takes %v", data, taken.Claims)
		case !isTaken && !errors.Is(err, fault.ErrUnavailable) && !errors.Is(err, fault.ErrConflict) &&
			!errors.Is(err, fault.ErrSequence):
			t.Errorf("%s is the error %v", data, err)
		case p != (ledger.Position{}):
			t.Errorf("%s is an error, and the position %+v", data, p)
		}
	})
}

// FuzzRead reads answers of the read script as rows and as cutoffs.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`[1,["id","value"],["id"]]`))
	f.Add([]byte(`[["a",1],[],"x"]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var parts []any
		if json.Unmarshal(data, &parts) != nil {
			return
		}
		r := replyReader{rest: parts}
		for len(r.rest) > 0 {
			hash := r.list()
			for len(hash.rest) > 0 {
				hash.text()
			}
			if err := errors.Join(r.err, hash.err); err != nil && !errors.Is(err, fault.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		}
		if r.number() != 0 || r.err == nil {
			t.Error("a number that is not there was read")
		}
	})
}

// FuzzInfo reads what a server says of itself. One that says nothing of what is required is unfit and volatile.
func FuzzInfo(f *testing.F) {
	f.Add("redis_version:8.0.2\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n" +
		"slave0:ip=10.0.0.2,port=6379,state=online\r\n")
	f.Add("# Server\nredis_version:7\nrole:slave")
	f.Add("slave0:ip=,port=99999\nslave1:x\nslave2:ip=a,port=1")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		p := primary{info: parseInfo(text)}
		if len(p.unfit()) == 0 && (!strings.Contains(text, "redis_version:") || !strings.Contains(text, "role:master")) {
			t.Errorf("%q is fit", text)
		}
		if len(p.volatile()) == 0 &&
			(!strings.Contains(text, "aof_enabled:1") || !strings.Contains(text, "maxmemory_policy:noeviction")) {
			t.Errorf("%q keeps what it acknowledged", text)
		}
		replicas := 0
		for range p.replicas() {
			replicas++
		}
		if replicas > strings.Count(text, "slave") {
			t.Errorf("%q has %d replicas", text, replicas)
		}
		if s := p.strength(); s < 0 || s > 4 || s > 0 && p.info["aof_enabled"] != "1" {
			t.Errorf("strength %d of %q", s, text)
		}
	})
}

// FuzzClaimKey holds that no two keys of claims are one in Redis, and that none leaves its tenant.
func FuzzClaimKey(f *testing.F) {
	f.Add("subject\x00https://a\x00b", "subject\x00https://a\x00c")
	f.Add("", "}{other}")
	f.Fuzz(func(t *testing.T, a, b string) {
		k := keys("acme")
		if (k.claim(a) == k.claim(b)) != (a == b) || !strings.HasPrefix(k.claim(a), "{acme}:once:") ||
			strings.ContainsAny(k.claim(a)[len("{acme}"):], "{}") {
			t.Errorf("%q and %q", a, b)
		}
	})
}
