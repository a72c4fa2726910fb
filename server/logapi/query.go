package logapi

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/bursar-sts/bursar/server/fault"
)

// maxNumber is what every reader of JSON and of queries can hold.
const maxNumber = 1 << 53

// maxText bounds a parameter, in bytes.
const maxText = 512

// query are the parameters of a call. The first mistake in them is kept.
type query struct {
	values url.Values
	err    error
}

// parseQuery reads parameters strictly, since a misspelt filter would show everything.
func parseQuery(raw string, known []string) (*query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, "query", "The query cannot be read.", err)
	}
	for name, given := range values {
		switch {
		case !slices.Contains(known, name):
			return nil, fault.New(fault.InvalidRequest, "query", "The query has a parameter that this call does not know.")
		case len(given) > 1 && name != "event":
			return nil, fault.New(fault.InvalidRequest, "query", "The parameter "+name+" is given twice.")
		}
	}
	return &query{values: values}, nil
}

// wrong keeps the first mistake.
func (q *query) wrong(name, must string) {
	if q.err == nil {
		q.err = fault.New(fault.InvalidRequest, "query", "The parameter "+name+" must be "+must+".")
	}
}

// number returns a whole number, and whether it was given.
func (q *query) number(name string, least, most int64) (n int64, given bool) {
	if !q.values.Has(name) {
		return 0, false
	}
	n, err := strconv.ParseInt(q.values.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		q.wrong(name, "a whole number from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
	}
	return n, true
}

// text returns a string; "" is none.
func (q *query) text(name string) string { return q.checked(name, q.values.Get(name)) }

// texts returns all values of a parameter.
func (q *query) texts(name string) []string {
	for _, value := range q.values[name] {
		q.checked(name, value)
	}
	return q.values[name]
}

func (q *query) checked(name, value string) string {
	if len(value) > maxText || value == "" && q.values.Has(name) {
		q.wrong(name, "1 to "+strconv.Itoa(maxText)+" bytes long")
	}
	return value
}

// flag returns what was said, or what is so where nothing was.
func (q *query) flag(name string, otherwise bool) bool {
	switch q.values.Get(name) {
	case "1", "true":
		return true
	case "0", "false":
		return false
	}
	if q.values.Has(name) {
		q.wrong(name, "true or false")
	}
	return otherwise
}

// choice returns one of the words, the first of which is meant where none is given.
func (q *query) choice(name string, words ...string) string {
	if !q.values.Has(name) {
		return words[0]
	}
	word := q.values.Get(name)
	if word == "" || !slices.Contains(words, word) {
		q.wrong(name, "one of those that the documentation names")
	}
	return word
}

// time returns a time; the zero time is none.
func (q *query) time(name string) time.Time {
	if !q.values.Has(name) {
		return time.Time{}
	}
	text := q.values.Get(name)
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds > 0 && seconds < maxNumber {
		return time.Unix(seconds, 0)
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		q.wrong(name, "a time such as 2026-01-02T03:04:05Z, or Unix seconds")
	}
	return at
}
