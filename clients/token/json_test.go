package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/bursar-sts/bursar/clients/token"
)

// plainly reads an object by encoding/json, and gives numbers their types.
func plainly(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var all map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&all); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	var exact func(value any) any
	exact = func(value any) any {
		switch v := value.(type) {
		case json.Number:
			if whole, err := v.Int64(); err == nil {
				return whole
			}
			number, err := v.Float64()
			if err != nil {
				t.Fatalf("%q: %v", data, err)
			}
			return number
		case []any:
			for i := range v {
				v[i] = exact(v[i])
			}
		case map[string]any:
			for name := range v {
				v[name] = exact(v[name])
			}
		}
		return value
	}
	return exact(all).(map[string]any)
}

// FuzzObject holds what Object reads against encoding/json, and what it refuses against CheckJSON.
func FuzzObject(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { "a" : [ 1 , -0, 9007199254740993, 9223372036854775808, 1e3, 0.5, {"b":[[],{},null,true,false]} ] } `,
		`{"é\u00e9\ud83d\ude00\n":"\"\\\/\b\f\n\r\t"}`, `{"a":1,"a":2}`, `{"a":{"b":1,"\u0062":2}}`, `{"a":1e999}`, `[]`,
		`{"a":}`,
		`{"a":[1,]}`, `{"a":tru}`, `{"a":01}`, "{\"a\":\"\xff\"}", `{}{}`, `null`, ``, `{"a":"\ud800"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := token.Object(data)
		strict := token.CheckJSON(data)
		switch {
		case errors.Is(err, token.ErrNumber):
			if got != nil {
				t.Errorf("%q: %v beside an error", data, got)
			}
		case err != nil:
			if got != nil || strict == nil {
				t.Errorf("%q: %v, %v, but CheckJSON says %v", data, got, err, strict)
			}
		case strict != nil:
			t.Errorf("%q: read, but CheckJSON says %v", data, strict)
		default:
			if want := plainly(t, data); !reflect.DeepEqual(got, want) {
				t.Errorf("%q: got %#v, want %#v", data, got, want)
			}
		}
	})
}
