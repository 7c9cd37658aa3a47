/* JPEG: the walk over the segments, then the check of the picture by libjpeg(-turbo).
 *
 * The walk finds where the image ends: SOI, segments with a length, scans of entropy-coded data (which end at the next
 * marker that is neither a stuffed zero nor a restart), EOI. Thumbnails lie inside segments and are passed over with
 * them. libjpeg then gets exactly those bytes. Its pixels went through a lossy codec, so unless all pixels are wanted it
 * only decodes to find damage: every coefficient is read, but one pixel in 64 is made. Warnings are faults; a wrong
 * code in a baseline scan that leaves the right number of pixels raises none, there is no checksum.
 *
 * What follows EOI: cameras put further whole pictures there (previews, other views: CIPA DC-007). They are passed over,
 * with zeros between them, so that `trailing` begins behind the last one: a text behind either EOI is found, and a
 * preview alone leaves nothing. What does not walk from SOI to EOI counts as trailing from its beginning.
 *
 * Layout: ITU-T T.81, annex B. */
#include "apps/starlight/decode_internal.h"
#include "base/memory.h"
#include "pipeline/image_jpeg.h"

enum {
    SOI = 0xd8,
    EOI = 0xd9,
    SOS = 0xda,
    RST0 = 0xd0,
    TEM = 0x01,
    APP1 = 0xe1,
    APP2 = 0xe2,
    COM = 0xfe,
    BLOCK_BYTES = 128,     /* 64 coefficients */
    ROWS_BYTES = 64,       /* of row buffers, for a column of pixels */
    SCAN_PIXELS = 1 << 30, /* most scans * pixels beyond SCANS_MIN scans: bounds the time of many scans */
    SCANS_MIN = 32,
};

/* ---- The walk ---- */

struct walk {
    const uint8_t *data;
    size_t size, at;
    uint32_t segments_max, segments;
    uint32_t scans;
    struct sw_starlight_decoder *d; /* whose metadata the segments are; NULL: only looked for the end */
};

static bool has_prefix(const uint8_t *data, size_t size, const char *prefix, size_t n) {
    return size >= n && memcmp(data, prefix, n) == 0;
}

static void take_segment(struct sw_starlight_decoder *d, uint32_t marker, const uint8_t *data, size_t size) {
    static const char exif[] = "Exif\0", xmp[] = "http://ns.adobe.com/xap/1.0/", icc[] = "ICC_PROFILE",
                      more_xmp[] = "http://ns.adobe.com/xmp/extension/";
    struct sw_starlight_image *image = d->image;
    if (marker == APP1 && has_prefix(data, size, exif, sizeof exif)) {
        sw_starlight_take_exif(d, data, size, false);
    } else if (marker == APP1 &&
               (has_prefix(data, size, xmp, sizeof xmp) || has_prefix(data, size, more_xmp, sizeof more_xmp))) {
        image->xmp_bytes += size;
    } else if (marker == APP2 && has_prefix(data, size, icc, sizeof icc)) {
        image->icc_bytes += size;
    } else if (marker == COM) {
        image->comment_bytes += size;
    }
}

/* Moves behind the next marker and returns it; -1 at the end. Bytes in front of a marker are passed over, as libjpeg
 * does. `inside`: entropy-coded data, where stuffed zeros and restarts are no markers. */
static int next_marker(struct walk *w, bool inside) {
    for (;;) {
        const uint8_t *p = memchr(w->data + w->at, 0xff, w->size - w->at);
        if (!p) {
            return -1;
        }
        w->at = (size_t)(p - w->data) + 1;
        while (w->at < w->size && w->data[w->at] == 0xff) {
            w->at++;
        }
        if (w->at == w->size) {
            return -1;
        }
        int marker = w->data[w->at++];
        bool restart = marker >= RST0 && marker <= RST0 + 7;
        if (marker != 0 && !(inside && restart)) {
            return marker;
        }
    }
}

static const char cut_off[] = "it is truncated: no end of image", too_many[] = "too many segments";

/* From SOI to behind EOI. NULL on success, else what is wrong. */
static const char *walk_image(struct walk *w) {
    bool inside = false;
    w->at += 2;
    for (;;) {
        int marker = next_marker(w, inside);
        if (marker < 0) {
            return cut_off;
        }
        if (marker == EOI) {
            return NULL;
        }
        if (marker == SOI) {
            return "an image begins inside it";
        }
        if (++w->segments > w->segments_max) {
            return too_many;
        }
        if (marker == TEM || (marker >= RST0 && marker <= RST0 + 7)) {
            continue;
        }
        size_t size = w->size - w->at >= 2 ? sw_starlight_be16(w->data + w->at) : 0;
        if (size < 2 || size > w->size - w->at) {
            return size == 1 ? "a segment's length is wrong" : cut_off;
        }
        if (w->d) {
            take_segment(w->d, (uint32_t)marker, w->data + w->at + 2, size - 2);
        }
        w->at += size;
        inside = marker == SOS;
        w->scans += inside;
    }
}

/* Behind whole pictures that follow the image, with zeros in front of each; see the top of this file. */
static size_t skip_pictures(const struct sw_starlight_decoder *d, size_t at) {
    struct walk w = {.data = d->data, .size = d->size, .segments_max = d->limits->chunks_max};
    for (;;) {
        size_t next = at;
        while (next < d->size && d->data[next] == 0) {
            next++;
        }
        if (!has_prefix(d->data + next, d->size - next, "\xff\xd8\xff", 3)) {
            return at;
        }
        w.at = next;
        if (walk_image(&w) || w.scans == 0) {
            return at;
        }
        at = w.at;
    }
}

/* ---- The picture ---- */

struct picture {
    struct jpeg_decompress_struct jpeg;
    struct sw_jpeg_guard guard;
    struct sw_starlight_decoder *d;
    const struct walk *walk;
    uint8_t *row; /* one row as libjpeg gives it, where it is not stored as such */
};

static sw_status take_header(struct picture *p) {
    struct sw_starlight_decoder *d = p->d;
    struct sw_starlight_image *image = d->image;
    SW_TRY(sw_starlight_set_canvas(d, p->jpeg.image_width, p->jpeg.image_height));
    image->bit_depth = (uint32_t)p->jpeg.data_precision;
    image->lossy = true;
    image->gray = p->jpeg.num_components == 1;
    image->interlaced = p->jpeg.progressive_mode;
    return SW_OK;
}

static sw_status check_scans(struct picture *p) {
    struct sw_starlight_decoder *d = p->d;
    uint64_t pixels = (uint64_t)p->jpeg.image_width * p->jpeg.image_height;
    uint64_t most = SCAN_PIXELS / pixels;
    most = most < SCANS_MIN ? SCANS_MIN : most;
    most = most > d->limits->scans_max ? d->limits->scans_max : most;
    p->guard.scans_max = (int)most;
    return p->walk->scans > most
               ? sw_starlight_fault(d, "it has %u scans; at most %u are taken", p->walk->scans, (uint32_t)most)
               : SW_OK;
}

/* Memory that libjpeg will take: rows, and all coefficients when there are several scans. */
static uint64_t library_bytes(const struct picture *p) {
    uint64_t coefficients = 0;
    for (int i = 0; i < p->jpeg.num_components; i++) {
        const jpeg_component_info *c = &p->jpeg.comp_info[i];
        uint64_t across = c->width_in_blocks + (uint64_t)c->h_samp_factor;
        coefficients += across * (c->height_in_blocks + (uint64_t)c->v_samp_factor) * BLOCK_BYTES;
    }
    return (p->walk->scans > 1 ? coefficients : 0) + (uint64_t)p->jpeg.image_width * ROWS_BYTES;
}

static void choose_output(struct picture *p) {
    struct jpeg_decompress_struct *jpeg = &p->jpeg;
    bool inks = jpeg->num_components == 4;
    if (jpeg->jpeg_color_space == JCS_UNKNOWN) {
        sw_jpeg_fail(jpeg, "its colour space is unknown", false);
    }
    jpeg->out_color_space = inks ? JCS_CMYK : JCS_RGB;
    if (p->d->wanted != SW_STARLIGHT_ALL_PIXELS) {
        jpeg->out_color_space = jpeg->jpeg_color_space == JCS_YCbCr ? JCS_GRAYSCALE : jpeg->jpeg_color_space;
        jpeg->dct_method = JDCT_IFAST;
        jpeg->do_fancy_upsampling = FALSE;
        jpeg->do_block_smoothing = FALSE;
        jpeg->scale_num = 1;
        jpeg->scale_denom = 8;
    }
}

static void read_rows(struct picture *p) {
    struct jpeg_decompress_struct *jpeg = &p->jpeg;
    uint8_t *out = p->d->image->pixels;
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = p->row ? p->row : out;
        if (jpeg_read_scanlines(jpeg, &row, 1) != 1) {
            sw_jpeg_fail(jpeg, "it is truncated", false);
        }
        if (out && p->row) {
            sw_jpeg_cmyk_to_rgb(p->row, out, jpeg->output_width, jpeg->saw_Adobe_marker);
        }
        out = out ? out + (size_t)jpeg->output_width * 3 : NULL;
    }
}

static sw_status make_room(struct picture *p) {
    struct sw_starlight_decoder *d = p->d;
    struct jpeg_decompress_struct *jpeg = &p->jpeg;
    bool all = d->wanted == SW_STARLIGHT_ALL_PIXELS;
    SW_TRY(sw_starlight_reserve(d, library_bytes(p)));
    jpeg_calc_output_dimensions(jpeg);
    if (all) {
        SW_TRY(sw_starlight_alloc(d, (uint64_t)jpeg->output_width * jpeg->output_height * 3, &d->image->pixels));
        d->image->channels = 3;
        d->image->raster_width = jpeg->output_width;
        d->image->raster_height = jpeg->output_height;
    }
    return !all || jpeg->out_color_space == JCS_CMYK
               ? sw_starlight_scratch(d, (uint64_t)jpeg->output_width * (uint64_t)jpeg->out_color_components, &p->row)
               : SW_OK;
}

/* Everything that libjpeg may jump out of. */
static sw_status decode(struct picture *p) {
    struct sw_starlight_decoder *d = p->d;
    struct jpeg_decompress_struct *jpeg = &p->jpeg;
    if (setjmp(p->guard.jump)) {
        return p->guard.out_of_memory ? sw_fail(d->err, SW_E_UNAVAILABLE, "out of memory: JPEG")
                                      : sw_starlight_fault(d, "%s", p->guard.reason);
    }
    jpeg_create_decompress(jpeg);
    sw_jpeg_guard_watch(&p->guard, jpeg);
    jpeg_mem_src(jpeg, d->data, p->walk->at);
    if (jpeg_read_header(jpeg, TRUE) != JPEG_HEADER_OK) {
        sw_jpeg_fail(jpeg, "it holds no image", false);
    }
    SW_TRY(take_header(p));
    SW_TRY(check_scans(p));
    choose_output(p);
    SW_TRY(make_room(p));
    jpeg_start_decompress(jpeg);
    read_rows(p);
    jpeg_finish_decompress(jpeg);
    return SW_OK;
}

sw_status sw_starlight_decode_jpeg(struct sw_starlight_decoder *d) {
    struct walk walk = {.data = d->data, .size = d->size, .segments_max = d->limits->chunks_max, .d = d};
    const char *wrong = walk_image(&walk);
    d->image->chunks = walk.segments;
    if (wrong == too_many) {
        return sw_starlight_fault(d, "it has more than %u chunks", d->limits->chunks_max);
    }
    if (wrong) {
        return sw_starlight_fault(d, "%s", wrong);
    }
    sw_starlight_set_trailing(d, skip_pictures(d, walk.at));
    struct picture p = {.d = d, .walk = &walk};
    sw_jpeg_guard_init(&p.guard, &p.jpeg, (int)d->limits->scans_max);
    sw_status status = decode(&p);
    jpeg_destroy_decompress(&p.jpeg);
    sw_free(p.row);
    return status;
}
