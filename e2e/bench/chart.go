package main

import (
	"fmt"
	"html"
	"strings"
)

// The measures of the chart, in pixels.
const (
	chartWidth = 900
	labelWidth = 330
	plotWidth  = chartWidth - labelWidth - 40
	barHeight  = 14
	rowHeight  = 46
	chartTop   = 76
)

var storeColors = map[string]string{"embedded": "#8ab6d6", "Redis": "#f2a488"}

// chart is a drawing of operations per core-second, on one linear scale from zero.
type chart struct {
	strings.Builder
	most float64 // what the scale ends with
}

// chart draws a bar for each row and store inside the outline of what the row's bare cryptography would allow, a mark
// where the budget is, and a dashed line for each peer.
func (r *report) chart() string {
	c := &chart{most: 1}
	var names []string
	for _, f := range r.Rows {
		c.most = max(c.most, f.PerCoreSecond, f.Budget)
		if f.Floor > 0 {
			c.most = max(c.most, 1e6/f.Floor)
		}
		if len(names) == 0 || names[len(names)-1] != f.Row {
			names = append(names, f.Row)
		}
	}
	bottom := chartTop + rowHeight*len(names)
	height := bottom + 30 + 16*len(peers)
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">`+"\n",
		chartWidth, height)
	c.rect(0, 0, chartWidth, float64(height), "#fff")
	c.legend()
	c.peers(bottom)
	for i, name := range names {
		top := float64(chartTop + rowHeight*i)
		c.text(labelWidth-8, top+barHeight+4, "end", 12, name)
		for _, f := range r.Rows {
			if f.Row == name {
				c.bar(f, top)
			}
		}
	}
	c.WriteString("</svg>\n")
	return c.String()
}

func (c *chart) at(n float64) float64 { return labelWidth + n/c.most*plotWidth }

func (c *chart) legend() {
	c.text(12, 24, "start", 16, "Operations per core-second (more is better)")
	c.rect(12, 40, 12, 12, storeColors["embedded"])
	c.text(30, 50, "start", 12, "embedded")
	c.rect(112, 40, 12, 12, storeColors["Redis"])
	c.text(130, 50, "start", 12, "Redis")
	c.outline(192, 40, 12, 12)
	c.text(210, 50, "start", 12, "nothing but its cryptography")
	c.rect(392, 38, 3, 16, "#111")
	c.text(402, 50, "start", 12, "budget (Redis)")
}

func (c *chart) peers(bottom int) {
	c.text(labelWidth-8, float64(bottom+20), "end", 11, "others, without any log, on another day:")
	for i, p := range peers {
		x, y := c.at(p.perCoreSecond), bottom+20+16*i
		fmt.Fprintf(c, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#888" stroke-dasharray="4 3"/>`+"\n",
			x, x, chartTop-8, y-4)
		c.text(x+5, float64(y), "start", 11, fmt.Sprintf("%s: %s", p.name, thousands(p.perCoreSecond)))
	}
}

func (c *chart) bar(f figures, top float64) {
	y := top
	if f.Store == "Redis" {
		y += barHeight + 2
	}
	c.rect(labelWidth, y, c.at(f.PerCoreSecond)-labelWidth, barHeight, storeColors[f.Store])
	if f.Floor > 0 {
		c.outline(labelWidth, y, c.at(1e6/f.Floor)-labelWidth, barHeight)
	}
	c.text(labelWidth+6, y+barHeight-3, "start", 11, thousands(f.PerCoreSecond))
	if f.Store == "Redis" && f.Budget > 0 {
		c.rect(c.at(f.Budget)-1, y-2, 3, barHeight+4, "#111")
	}
}

func (c *chart) rect(x, y, width, height float64, color string) {
	fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, color)
}

func (c *chart) outline(x, y, width, height float64) {
	fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="none" stroke="#aaa"/>`+"\n",
		x, y, width, height)
}

func (c *chart) text(x, y float64, anchor string, size int, text string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d" fill="#111">%s</text>`+"\n",
		x, y, anchor, size, html.EscapeString(text))
}
