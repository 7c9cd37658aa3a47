/* Charts: places on the axes, ticks, escaping, and values beyond the axes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "cli/svg.h"

static struct sw_buf page;

static int begin(void **state) {
    sw_buf_init(&page, 1 << 20);
    return 0;
}

static int end(void **state) {
    sw_buf_deinit(&page);
    return 0;
}

static struct sw_svg_plot plot_of(struct sw_svg_axis horizontal, struct sw_svg_axis vertical) {
    return (struct sw_svg_plot){&page, 100, 50, 400, 200, horizontal, vertical};
}

static void assert_has(const char *part) {
    if (!strstr(page.data, part)) {
        fail_msg("no '%s' in: %s", part, page.data);
    }
}

static size_t count_of(const char *part) {
    size_t n = 0;
    for (const char *at = page.data; (at = strstr(at, part)); at++) {
        n++;
    }
    return n;
}

static void places(void **state) {
    struct sw_svg_plot p = plot_of((struct sw_svg_axis){1e-4, 1, true, "x"}, (struct sw_svg_axis){-1, 3, false, "y"});
    assert_true(fabs(sw_svg_place_x(&p, 1e-4) - 100) < 1e-9);
    assert_true(fabs(sw_svg_place_x(&p, 1e-2) - 300) < 1e-9);
    assert_true(fabs(sw_svg_place_x(&p, 1) - 500) < 1e-9);
    assert_true(sw_svg_place_x(&p, 0) == 100 && sw_svg_place_x(&p, -5) == 100 && sw_svg_place_x(&p, 9) == 500);
    assert_true(sw_svg_place_y(&p, -1) == 250 && sw_svg_place_y(&p, 1) == 150 && sw_svg_place_y(&p, 3) == 50);
    assert_true(sw_svg_place_y(&p, 7) == 50 && sw_svg_place_y(&p, INFINITY) == 50);
}

static void ticks(void **state) {
    struct sw_svg_plot p = plot_of((struct sw_svg_axis){0, 1, false, "share"},
                                   (struct sw_svg_axis){0.5, 10000, true, "n"});
    sw_svg_axes(&p);
    static const char *const labels[] = {">0<", ">0.2<", ">0.4<", ">0.6<",  ">0.8<",
                                         ">1<", ">10<",  ">100<", ">1000<", ">10000<"};
    for (size_t i = 0; i < SW_COUNTOF(labels); i++) {
        assert_has(labels[i]);
    }
    assert_int_equal(count_of("class=\"grid\""), 6 + 5);
    assert_has(">share<");
    assert_has("rotate(-90");
}

static void odd_spans_have_few_ticks(void **state) {
    static const double spans[][2] = {{0.9, 1}, {0, 7}, {-3, 1234}, {0.5, 0.97}, {1e-9, 3e-9}};
    for (size_t i = 0; i < SW_COUNTOF(spans); i++) {
        sw_buf_clear(&page);
        struct sw_svg_plot p = plot_of((struct sw_svg_axis){spans[i][0], spans[i][1], false, "x"},
                                       (struct sw_svg_axis){0, 1, false, "y"});
        sw_svg_axes(&p);
        size_t n = count_of("class=\"grid\"") - 6;
        if (n < 2 || n > 11) {
            fail_msg("%zu ticks from %g to %g", n, spans[i][0], spans[i][1]);
        }
    }
}

static void texts_are_escaped(void **state) {
    sw_svg_begin(&page, 100, 80, "a<b & \"c\"\x01", "\xff");
    sw_svg_text(&page, 1, 2, SW_SVG_END, true, "%s", "</svg>");
    sw_svg_end(&page);
    assert_has("<title>a&lt;b &amp; &quot;c&quot;?</title>");
    assert_has("<desc>?</desc>");
    assert_has("text-anchor=\"end\">&lt;/svg&gt;</text>");
    assert_int_equal(count_of("</svg>"), 1);
}

static void marks(void **state) {
    struct sw_svg_plot p = plot_of((struct sw_svg_axis){0, 1, false, "x"}, (struct sw_svg_axis){0, 1, false, "y"});
    sw_svg_line(&p, SW_SVG_GUIDE, (double[]){0, 0.5, 2}, (double[]){0, 1, -1}, 3);
    sw_svg_point(&p, SW_SVG_SECOND, 0.25, 0.5, 3);
    sw_svg_bar(&p, SW_SVG_FIRST, 0, 0.5, 0, 0.25);
    assert_has("<path class=\"line s2 dash\" d=\"M100.00 250.00L300.00 50.00L500.00 250.00\"/>");
    assert_has("<circle class=\"f1\" cx=\"200.00\" cy=\"150.00\" r=\"3.0\"/>");
    assert_has("<rect class=\"f0\" x=\"100.00\" y=\"200.00\" width=\"200.00\" height=\"50.00\"/>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(places, begin, end),
        cmocka_unit_test_setup_teardown(ticks, begin, end),
        cmocka_unit_test_setup_teardown(odd_spans_have_few_ticks, begin, end),
        cmocka_unit_test_setup_teardown(texts_are_escaped, begin, end),
        cmocka_unit_test_setup_teardown(marks, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
