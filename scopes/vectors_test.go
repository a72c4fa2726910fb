package scopes_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/scopes"
)

// vectors are shared by every implementation of the vocabulary.
type vectors struct {
	Slugs, Actions struct{ Valid, Invalid []string }
	Scopes         struct {
		Valid   []struct{ Text, Tool, Action string }
		Invalid []string
	}
	Words []struct {
		Name, Param string
		Words       []string
		Refused     bool
	}
	Sets []struct {
		Name        string
		Left, Right []string
		Covers      bool
		Meet        string
	}
}

func load(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var v vectors
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNamesOfTheVectors(t *testing.T) {
	v := load(t)
	for _, s := range v.Slugs.Valid {
		if err := scopes.CheckSlug(s); err != nil {
			t.Errorf("slug %q: %v", s, err)
		}
		if err := scopes.CheckAction(s); err != nil {
			t.Errorf("slug %q as an action of one word: %v", s, err)
		}
	}
	for _, s := range v.Slugs.Invalid {
		if scopes.CheckSlug(s) == nil {
			t.Errorf("slug %q passed", s)
		}
	}
	for _, s := range v.Actions.Valid {
		if err := scopes.CheckAction(s); err != nil {
			t.Errorf("action %q: %v", s, err)
		}
	}
	for _, s := range v.Actions.Invalid {
		if scopes.CheckAction(s) == nil {
			t.Errorf("action %q passed", s)
		}
	}
}

func TestScopesOfTheVectors(t *testing.T) {
	v := load(t)
	for _, want := range v.Scopes.Valid {
		got, err := scopes.Parse(want.Text)
		if err != nil || got != (scopes.Scope{Tool: want.Tool, Action: want.Action}) || got.String() != want.Text {
			t.Errorf("%q: %+v, %v", want.Text, got, err)
		}
	}
	for _, s := range v.Scopes.Invalid {
		if got, err := scopes.Parse(s); err == nil || got != (scopes.Scope{}) {
			t.Errorf("%q passed as %+v", s, got)
		}
	}
}

func TestWordsOfTheVectors(t *testing.T) {
	for _, row := range load(t).Words {
		t.Run(row.Name, func(t *testing.T) {
			got, err := scopes.Words(row.Param)
			if (err != nil) != row.Refused || !slices.Equal(got, row.Words) {
				t.Errorf("got %q, %v", got, err)
			}
			if err != nil && len(row.Param) > 3 && strings.Contains(err.Error(), row.Param) {
				t.Errorf("%v echoes the parameter", err)
			}
		})
	}
}

func TestSetsOfTheVectors(t *testing.T) {
	parse := func(t *testing.T, texts []string) scopes.Set {
		var all []scopes.Scope
		for _, s := range texts {
			x, err := scopes.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, x)
		}
		return scopes.NewSet(all...)
	}
	for _, row := range load(t).Sets {
		t.Run(row.Name, func(t *testing.T) {
			left, right := parse(t, row.Left), parse(t, row.Right)
			if got := left.Covers(right); got != row.Covers {
				t.Errorf("covers: %v", got)
			}
			if got := left.Meet(right).String(); got != row.Meet {
				t.Errorf("meet: %q", got)
			}
			if got := right.Meet(left).String(); got != row.Meet {
				t.Errorf("meet the other way round: %q", got)
			}
		})
	}
}
