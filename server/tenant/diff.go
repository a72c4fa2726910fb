package tenant

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"github.com/bursar-sts/bursar/server/ledger"
)

// Edit is one object that a change creates, updates or deletes.
type Edit struct {
	ledger.Key
	Action string   // create, update, delete
	Fields []string // of an update: the names of the top-level fields that differ, sorted
	Before []byte   // the value before; nil if created
	After  []byte   // the value after; nil if deleted
}

// Actions of an Edit.
const (
	Create = "create"
	Update = "update"
	Delete = "delete"
)

// diff compares the rows that a file describes with those that exist. Rows that the file does not name are deleted if
// prune is set, else returned as unmanaged.
func diff(have, wanted []ledger.Row, prune bool) (edits []Edit, unmanaged []ledger.Key) {
	old := make(map[ledger.Key][]byte, len(have))
	for _, row := range have {
		if slices.Contains(FileKinds, row.Kind) {
			old[ledger.Key{Kind: row.Kind, ID: row.ID}] = row.Value
		}
	}
	for _, row := range wanted {
		key := ledger.Key{Kind: row.Kind, ID: row.ID}
		before, exists := old[key]
		delete(old, key)
		switch {
		case !exists:
			edits = append(edits, Edit{Key: key, Action: Create, After: row.Value})
		case !bytes.Equal(before, row.Value):
			edits = append(edits, Edit{
				Key: key, Action: Update, Fields: changed(before, row.Value), Before: before, After: row.Value})
		}
	}
	for key, before := range old {
		if prune {
			edits = append(edits, Edit{Key: key, Action: Delete, Before: before})
		} else {
			unmanaged = append(unmanaged, key)
		}
	}
	slices.SortFunc(edits, func(a, b Edit) int { return compareKeys(a.Key, b.Key) })
	slices.SortFunc(unmanaged, compareKeys)
	return edits, unmanaged
}

// changed names the top-level fields in which two JSON objects differ.
func changed(before, after []byte) []string {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(after, &b) != nil {
		return nil
	}
	var names []string
	for name, value := range a {
		if !bytes.Equal(value, b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func compareRows(a, b ledger.Row) int {
	return compareKeys(ledger.Key{Kind: a.Kind, ID: a.ID}, ledger.Key{Kind: b.Kind, ID: b.ID})
}

func compareKeys(a, b ledger.Key) int {
	return cmp.Or(cmp.Compare(slices.Index(FileKinds, a.Kind), slices.Index(FileKinds, b.Kind)),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}
