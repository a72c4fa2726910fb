package tools

import "strings"

// problems gathers mistakes, each as "path: what is wrong and what to do".
type problems []string

func (p *problems) add(path, what string) { *p = append(*p, path+": "+what) }

// err adds err under path, if there is one.
func (p *problems) err(path string, err error) {
	if err != nil {
		p.add(path, err.Error())
	}
}

// under adds mistakes whose paths are relative to the given one.
func (p *problems) under(path string, found []string) {
	for _, f := range found {
		if !strings.HasPrefix(f, "[") && !strings.HasPrefix(f, ":") {
			f = "." + f
		}
		*p = append(*p, path+f)
	}
}
