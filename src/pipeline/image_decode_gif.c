/* GIF through giflib, line by line: the first picture on its canvas, transparent where it does not reach.
 *
 * Later frames are not read at all. The file's end mark is not asked for: it stands behind them. */
#include <gif_lib.h>

#include "base/memory.h"
#include "pipeline/image.h"

struct reader {
    struct sw_str rest;
};

static int read_bytes(GifFileType *gif, GifByteType *out, int len) {
    struct reader *r = gif->UserData;
    size_t n = len < 0 ? 0 : (size_t)len < r->rest.len ? (size_t)len : r->rest.len;
    if (n) {
        memcpy(out, r->rest.data, n);
    }
    r->rest.data += n;
    r->rest.len -= n;
    return (int)n;
}

static sw_status fault(int code, struct sw_error *err) {
    const char *text = GifErrorString(code);
    return sw_fail(err, code == D_GIF_ERR_NOT_ENOUGH_MEM ? SW_E_UNAVAILABLE : SW_E_UNPROCESSABLE,
                   "GIF cannot be decoded: %s", text ? text : "its data are damaged");
}

/* Reads one extension; *transparent gets the index a graphics control block names, or -1. */
static bool read_extension(GifFileType *gif, int *transparent) {
    int function;
    GifByteType *block;
    if (DGifGetExtension(gif, &function, &block) == GIF_ERROR) {
        return false;
    }
    while (block) {
        GraphicsControlBlock control;
        if (function == GRAPHICS_EXT_FUNC_CODE && DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
            *transparent = control.TransparentColor;
        }
        if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) {
            return false;
        }
    }
    return true;
}

/* Moves to the first picture; its descriptor is then in gif->Image. */
static sw_status find_picture(GifFileType *gif, int *transparent, struct sw_error *err) {
    *transparent = NO_TRANSPARENT_COLOR;
    for (;;) {
        GifRecordType type;
        if (DGifGetRecordType(gif, &type) == GIF_ERROR) {
            return fault(gif->Error, err);
        }
        if (type == IMAGE_DESC_RECORD_TYPE) {
            return DGifGetImageDesc(gif) == GIF_ERROR ? fault(gif->Error, err) : SW_OK;
        }
        if (type == TERMINATE_RECORD_TYPE) {
            return sw_fail(err, SW_E_UNPROCESSABLE, "GIF cannot be decoded: it holds no picture");
        }
        if (type == EXTENSION_RECORD_TYPE && !read_extension(gif, transparent)) {
            return fault(gif->Error, err);
        }
    }
}

/* One line of colour indices onto row `y` of the canvas, columns from the frame's left edge. Indices without a colour
 * become black. */
static void put_line(const GifFileType *gif, const ColorMapObject *map, const uint8_t *line, int transparent,
                     struct sw_image *image, uint32_t y) {
    uint32_t left = (uint32_t)gif->Image.Left, width = (uint32_t)gif->Image.Width;
    for (uint32_t x = 0; x < width && left + x < image->width; x++) {
        uint8_t *out = image->pixels + ((size_t)y * image->width + left + x) * image->channels;
        int index = line[x];
        if (image->channels == 4) {
            out[3] = index == transparent ? 0 : 255;
        }
        if (index < map->ColorCount) {
            out[0] = map->Colors[index].Red;
            out[1] = map->Colors[index].Green;
            out[2] = map->Colors[index].Blue;
        } else {
            memset(out, 0, 3);
        }
    }
}

static sw_status read_lines(GifFileType *gif, const ColorMapObject *map, int transparent, uint8_t *line,
                            struct sw_image *image, struct sw_error *err) {
    static const struct { uint32_t start, step; } passes[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}}, straight = {0, 1};
    uint32_t height = (uint32_t)gif->Image.Height, top = (uint32_t)gif->Image.Top;
    for (size_t pass = 0; pass < (gif->Image.Interlace ? SW_COUNTOF(passes) : 1); pass++) {
        uint32_t step = gif->Image.Interlace ? passes[pass].step : straight.step;
        for (uint32_t y = gif->Image.Interlace ? passes[pass].start : straight.start; y < height; y += step) {
            if (DGifGetLine(gif, line, gif->Image.Width) == GIF_ERROR) {
                return fault(gif->Error, err);
            }
            if (top + y < image->height) {
                put_line(gif, map, line, transparent, image, top + y);
            }
        }
    }
    return SW_OK;
}

static sw_status decode(GifFileType *gif, const struct sw_image_limits *limits, struct sw_image *image,
                        struct sw_error *err) {
    int transparent;
    SW_TRY(find_picture(gif, &transparent, err));
    const GifImageDesc *frame = &gif->Image;
    if (frame->Left < 0 || frame->Top < 0 || frame->Width <= 0 || frame->Height <= 0) {
        return fault(D_GIF_ERR_IMAGE_DEFECT, err);
    }
    SW_TRY(sw_image_check_size("GIF", (uint64_t)frame->Width, (uint64_t)frame->Height, limits, err));
    const ColorMapObject *map = frame->ColorMap ? frame->ColorMap : gif->SColorMap;
    if (!map) {
        return fault(D_GIF_ERR_NO_COLOR_MAP, err);
    }
    bool no_canvas = gif->SWidth <= 0 || gif->SHeight <= 0;
    uint64_t width = no_canvas ? (uint64_t)(frame->Left + frame->Width) : (uint64_t)gif->SWidth;
    uint64_t height = no_canvas ? (uint64_t)(frame->Top + frame->Height) : (uint64_t)gif->SHeight;
    bool covers = frame->Left == 0 && frame->Top == 0 && (uint64_t)frame->Width >= width &&
                  (uint64_t)frame->Height >= height;
    uint32_t channels = covers && transparent == NO_TRANSPARENT_COLOR ? 3 : 4;
    SW_TRY(sw_image_alloc(image, "GIF", width, height, channels, limits, err));
    memset(image->pixels, 0, (size_t)width * height * channels);
    SW_AUTO_FREE uint8_t *line = sw_malloc((size_t)frame->Width);
    return line ? read_lines(gif, map, transparent, line, image, err) : fault(D_GIF_ERR_NOT_ENOUGH_MEM, err);
}

sw_status sw_image_decode_gif(struct sw_str encoded, const struct sw_image_limits *limits, struct sw_image *image,
                              struct sw_error *err) {
    struct reader reader = {.rest = encoded};
    int code = 0;
    GifFileType *gif = DGifOpen(&reader, read_bytes, &code);
    if (!gif) {
        return fault(code, err);
    }
    sw_status status = decode(gif, limits, image, err);
    DGifCloseFile(gif, &code);
    return status;
}
