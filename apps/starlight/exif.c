/* EXIF blocks: just enough of TIFF to find the UserComment and to count entries.
 *
 * A block is a TIFF header ("II" or "MM", 42, offset of the first directory) and directories (IFDs) linked by offsets,
 * which an attacker may let point anywhere, backwards too. So directories are taken from a queue of at most IFDS_MAX
 * different offsets: a loop adds nothing to it. Every offset and count is compared with the block's size before it is
 * followed.
 *
 * Layout: TIFF 6.0, section 2; Exif 2.32 (CIPA DC-008), 4.6. */
#include "apps/starlight/decode_internal.h"
#include "base/memory.h"

enum {
    IFDS_MAX = 16,
    ENTRIES_MAX = 4096, /* of all directories; more are not looked at */
    ENTRY_SIZE = 12,
    CODE_SIZE = 8, /* the character code in front of a UserComment */
    TAG_SUB_IFDS = 0x014a,
    TAG_EXIF_IFD = 0x8769,
    TAG_GPS_IFD = 0x8825,
    TAG_INTEROP_IFD = 0xa005,
    TAG_USER_COMMENT = 0x9286,
    TYPE_BYTE = 1,
    TYPE_ASCII = 2,
    TYPE_SHORT = 3,
    TYPE_LONG = 4,
    TYPE_UNDEFINED = 7,
    TYPE_IFD = 13,
};

struct reader {
    const uint8_t *tiff;
    size_t size;
    bool little;
    size_t ifds[IFDS_MAX]; /* offsets of directories, found ones behind those that are read */
    size_t ifd_count;
    struct sw_starlight_exif *found;
};

static uint32_t get16(const struct reader *r, size_t at) {
    return r->little ? sw_starlight_le16(r->tiff + at) : sw_starlight_be16(r->tiff + at);
}

static uint32_t get32(const struct reader *r, size_t at) {
    return r->little ? sw_starlight_le32(r->tiff + at) : sw_starlight_be32(r->tiff + at);
}

static void push_ifd(struct reader *r, size_t at) {
    if (at < 8 || at > r->size - 2 || r->ifd_count == IFDS_MAX) {
        return;
    }
    for (size_t i = 0; i < r->ifd_count; i++) {
        if (r->ifds[i] == at) {
            return;
        }
    }
    r->ifds[r->ifd_count++] = at;
}

static size_t type_size(uint32_t type) {
    static const uint8_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
    return type < sizeof sizes ? sizes[type] : 0;
}

/* Where the entry's values lie; false when they are not all inside the block. */
static bool values_of(const struct reader *r, size_t entry, size_t *ret_at, uint64_t *ret_size) {
    uint64_t size = (uint64_t)get32(r, entry + 4) * type_size(get16(r, entry + 2));
    size_t at = size <= 4 ? entry + 8 : get32(r, entry + 8);
    if (at > r->size || size > r->size - at) {
        return false;
    }
    *ret_at = at;
    *ret_size = size;
    return true;
}

static bool is_blank(const uint8_t *p, size_t n) {
    for (size_t i = CODE_SIZE; i < n; i++) {
        if (p[i] != 0 && p[i] != ' ') {
            return false;
        }
    }
    return true;
}

static void take_comment(struct reader *r, size_t at, uint64_t size, uint32_t type) {
    if (size == 0 || (type != TYPE_UNDEFINED && type != TYPE_BYTE && type != TYPE_ASCII)) {
        return;
    }
    bool blank = is_blank(r->tiff + at, (size_t)size);
    if (!r->found->user_comment.data || (r->found->blank && !blank)) {
        r->found->user_comment = (struct sw_str){(const char *)r->tiff + at, (size_t)size};
        r->found->blank = blank;
    }
}

static void read_entry(struct reader *r, size_t entry) {
    uint32_t tag = get16(r, entry), type = get16(r, entry + 2);
    size_t at;
    uint64_t size;
    if (!values_of(r, entry, &at, &size)) {
        return;
    }
    bool pointer = type == TYPE_LONG || type == TYPE_IFD;
    switch (tag) {
    case TAG_USER_COMMENT: take_comment(r, at, size, type); break;
    case TAG_EXIF_IFD:
    case TAG_GPS_IFD:
    case TAG_INTEROP_IFD:
    case TAG_SUB_IFDS:
        for (size_t i = 0; pointer && i < IFDS_MAX && 4 * i + 4 <= size; i++) {
            push_ifd(r, get32(r, at + 4 * i));
        }
        break;
    default: break;
    }
}

static void read_ifd(struct reader *r, size_t at) {
    size_t count = get16(r, at);
    at += 2;
    for (size_t i = 0; i < count; i++, at += ENTRY_SIZE) {
        if (r->size - at < ENTRY_SIZE || r->found->entries == ENTRIES_MAX) {
            return;
        }
        r->found->entries++;
        read_entry(r, at);
    }
    if (r->size - at >= 4) {
        push_ifd(r, get32(r, at));
    }
}

bool sw_starlight_exif_read(const uint8_t *tiff, size_t size, struct sw_starlight_exif *ret) {
    if (size < 10 || (memcmp(tiff, "II\x2a\0", 4) != 0 && memcmp(tiff, "MM\0\x2a", 4) != 0)) {
        return false;
    }
    struct sw_starlight_exif found = {.little_endian = tiff[0] == 'I'};
    struct reader r = {.tiff = tiff, .size = size, .little = found.little_endian, .found = &found};
    push_ifd(&r, get32(&r, 4));
    for (size_t i = 0; i < r.ifd_count; i++) {
        read_ifd(&r, r.ifds[i]);
    }
    if (r.ifd_count == 0) {
        return false;
    }
    *ret = found;
    return true;
}

void sw_starlight_take_exif(struct sw_starlight_decoder *d, const uint8_t *block, size_t size, bool copy) {
    struct sw_starlight_image *image = d->image;
    struct sw_starlight_exif found;
    image->exif_bytes += size;
    if (size >= 6 && memcmp(block, "Exif\0\0", 6) == 0) {
        block += 6;
        size -= 6;
    }
    if (!sw_starlight_exif_read(block, size, &found)) {
        return;
    }
    image->exif_entries += found.entries;
    if (!found.user_comment.data || (image->user_comment.data && !(d->blank_comment && !found.blank))) {
        return;
    }
    struct sw_str comment = found.user_comment;
    if (copy) {
        char *own = sw_malloc(comment.len);
        if (!own) {
            return;
        }
        memcpy(own, comment.data, comment.len);
        sw_free(d->owned->comment);
        d->owned->comment = (uint8_t *)own;
        comment.data = own;
    }
    image->user_comment = comment;
    image->exif_little_endian = found.little_endian;
    d->blank_comment = found.blank;
}
