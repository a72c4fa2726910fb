package tenant

import "strings"

// problems gathers mistakes, each as "path: what is wrong and what to do".
type problems []string

func (p *problems) add(path, what string) {
	switch {
	case path == "":
		*p = append(*p, what)
	default:
		*p = append(*p, path+": "+what)
	}
}

// err adds err under path, if there is one.
func (p *problems) err(path string, err error) {
	if err != nil {
		p.add(path, err.Error())
	}
}

// under adds mistakes that another room found, each beginning with a path relative to the given one.
func (p *problems) under(path string, found []string) {
	for _, f := range found {
		sep := "."
		if strings.HasPrefix(f, "[") || strings.HasPrefix(f, ":") {
			sep = ""
		}
		*p = append(*p, path+sep+f)
	}
}
