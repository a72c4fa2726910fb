package main

import (
	"errors"
	"io"
	"os"

	"github.com/bursar-sts/bursar/cmd/internal/attack/findings"
)

// reports are the files that get the report as well, by format. They are open before the run, so that none is lost to a
// wrong path.
type reports map[string]*os.File

func (x *assault) open() (reports, error) {
	files := reports{}
	for format, path := range x.files {
		if *path == "" {
			continue
		}
		f, err := os.Create(*path)
		if err != nil {
			return nil, errors.Join(unwritable(err), files.close())
		}
		files[format] = f
	}
	return files, nil
}

func (files reports) write(r *findings.Report) error {
	var err error
	for format, f := range files {
		err = errors.Join(err, formats[format](f, r))
	}
	return errors.Join(err, files.close())
}

func (files reports) close() error {
	var err error
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// open opens the file that gets the output; done must be called in the end.
func (p *program) open(path string) (w io.Writer, done func() error, err error) {
	if path == "" {
		return p.out, func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// unwritable is the error of a report that cannot be written where the command line has it.
func unwritable(err error) error {
	return usage("the report cannot be written: " + err.Error())
}
