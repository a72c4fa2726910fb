package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/auditor"
)

// verification are the flags of audit verify.
type verification struct {
	keys, old, witnesses, tokens []string
	issuer, state                string
	quorum                       int
}

func (p *program) auditVerifyCommand() *cobra.Command {
	var v verification
	var asJSON *bool
	cmd := command("verify PATH --key KEY [--state FILE]", "Verify an export of a log, offline", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			options, err := p.readOptions(&v)
			if err != nil {
				return err
			}
			r, err := p.verify(ctx, args[0], options)
			if err != nil {
				return err
			}
			return p.conclude(&v, r, *asJSON)
		})
	cmd.Long = cmd.Short + `.

PATH is a tar or tar.gz that bursar audit export wrote, the directory that it was unpacked in, or - for standard input.
Every event is read and hashed, and its signature is verified. That needs the key of the log, from a place that the
maker of the export cannot write to. Somebody who has the log's own keys, or an older copy of the store, can make a
shorter log, or another one, that verifies: only an older checkpoint (--old, --state) or witnesses show that.

Exit codes: 0 passed; 1 failed: the log was tampered with, or something is missing; 2 wrong command line; 3 could not
tell: no key was given, or there is no export to read.`
	f := cmd.Flags()
	f.StringArrayVar(&v.keys, "key", nil, "key of the log, or @FILE that holds it; may be repeated: one of them must fit")
	f.StringVar(&v.issuer, "issuer", "", "whose log it must be, such as https://sts.example/t/acme")
	f.StringArrayVar(&v.old, "old", nil, "file with an older checkpoint that the log must go on from; may be repeated")
	f.StringVar(&v.state, "state", "", "file that remembers the newest checkpoint that passed; it is --old the next time")
	f.StringArrayVar(&v.witnesses, "witness", nil,
		"key of a witness that must have signed the checkpoint; may be repeated")
	f.IntVar(&v.quorum, "quorum", 0, "how many of the witnesses must have signed (default: all)")
	f.StringArrayVar(&v.tokens, "token", nil,
		"file with an access token that must be on record; - for standard input; may be repeated")
	asJSON = jsonFlag(cmd)
	return cmd
}

// unreadable is the error of a file that a verification cannot read.
func unreadable(what string, err error) error {
	return &failure{code: exitUnknown, text: what + " cannot be read: " + err.Error(), hints: []string{"check the path"}}
}

// readOptions reads what the flags name.
func (p *program) readOptions(v *verification) (o auditor.Options, err error) {
	o = auditor.Options{Issuer: v.issuer, Witnesses: v.witnesses, Quorum: v.quorum}
	if o.Keys, err = p.readKeys(v.keys); err != nil {
		return o, err
	}
	if v.state != "" && len(o.Keys) == 0 {
		return o, usage("--state remembers what a key has signed: give --key as well")
	}
	for _, path := range v.old {
		signed, err := p.readInput(path)
		if err != nil {
			return o, unreadable("the older checkpoint", err)
		}
		o.Old = append(o.Old, signed)
	}
	if v.state != "" {
		signed, err := p.readInput(v.state)
		switch {
		case err == nil:
			o.Old = append(o.Old, signed)
		case !errors.Is(err, fs.ErrNotExist): // which it does not before the first time
			return o, unreadable("what was remembered", err)
		}
	}
	for _, path := range v.tokens {
		compact, err := p.readInput(path)
		if err != nil {
			return o, unreadable("the token", err)
		}
		o.Tokens = append(o.Tokens, strings.TrimSpace(string(compact)))
	}
	return o, nil
}

// readKeys returns keys of a log, those in files too.
func (p *program) readKeys(given []string) (keys []string, err error) {
	for _, key := range given {
		path, isFile := strings.CutPrefix(key, "@")
		if !isFile {
			keys = append(keys, key)
			continue
		}
		text, err := p.readInput(path)
		if err != nil {
			return nil, unreadable("the key", err)
		}
		found := strings.Fields(string(text))
		if len(found) == 0 {
			return nil, usage("there is no key in "+path, "a key is one line: <name>+<hash>+<base64>")
		}
		keys = append(keys, found...)
	}
	return keys, nil
}

// verify verifies the export at a path.
func (p *program) verify(ctx context.Context, path string, o auditor.Options) (*auditor.Report, error) {
	var from *auditor.Reader
	var err error
	if path == "-" {
		from, err = auditor.NewReader(p.in)
	} else {
		from, err = auditor.OpenExport(path)
	}
	switch {
	case errors.Is(err, auditor.ErrFormat):
		return nil, notExport(err)
	case err != nil:
		return nil, unreadable("the export", err)
	}
	defer from.Close()
	r, err := auditor.Verify(ctx, from, o)
	if wrong, ok := errors.AsType[*auditor.OptionsError](err); ok {
		return nil, usage(wrong.Error())
	}
	switch {
	case errors.Is(err, auditor.ErrOrder):
		return nil, &failure{code: exitUnknown, text: err.Error()}
	case err != nil && ctx.Err() == nil:
		return nil, unreadable("the export", err)
	case err != nil:
		return nil, err
	}
	return r, nil
}

func notExport(err error) error {
	return &failure{code: exitUnknown, text: err.Error(), hints: []string{"bursar audit export makes one"}}
}

// conclude prints the report, remembers the checkpoint, and returns what the exit code says.
func (p *program) conclude(v *verification, r *auditor.Report, asJSON bool) error {
	if asJSON {
		if err := p.printJSON(struct {
			Passed bool `json:"passed"`
			*auditor.Report
		}{r.Passed(), r}); err != nil {
			return err
		}
	} else if err := p.printReport(r); err != nil {
		return err
	}
	first := r.FirstError()
	switch {
	case r.Checkpoint == "" && r.Entries == 0: // nothing of a log was found
		return &failure{code: exitUnknown, text: "this is not an export of a log", hints: []string{logHints[first.Code]}}
	case first != nil:
		return &failure{code: exitRefused, text: "the log did not pass", hints: hintsFor(r)}
	case !r.Passed():
		return &failure{code: exitUnknown, text: "nothing tells whose log it is: no key was given",
			hints: []string{"get the key from the operator, or once from the server, keep it, and give it with --key"}}
	case v.state != "":
		return p.remember(v.state, r)
	}
	return nil
}

// remember keeps the checkpoint for the next time. What was remembered is kept if the log could not be held against it.
func (p *program) remember(path string, r *auditor.Report) error {
	_, err := os.Stat(path)
	if err == nil && r.Completeness != auditor.OK {
		return &failure{code: exitUnknown, text: "the log could not be held against what was remembered, which is kept"}
	}
	if err := replaceFile(path, strings.TrimSuffix(r.Checkpoint, "\n")); err != nil {
		return fmt.Errorf("the log passed, and its checkpoint cannot be remembered: %w", err)
	}
	return nil
}

// hintsFor says what can be done about what is wrong, in the order of the findings.
func hintsFor(r *auditor.Report) (hints []string) {
	said := map[string]bool{}
	for _, f := range r.Findings {
		hint := logHints[f.Code]
		if f.Severity == auditor.Error && hint != "" && !said[hint] {
			said[hint], hints = true, append(hints, hint)
		}
	}
	return hints
}
